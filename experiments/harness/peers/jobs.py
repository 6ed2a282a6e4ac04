"""What a benchmark measures: jobs, each of a package, and one row per repetition of a job."""

from dataclasses import astuple, dataclass

RATE = 1e-3
RATES = (2.5e-4, 5e-4, 1e-3, 2e-3)  # of several members, in turn
ARMS = ("one_call", "calls", "recompile", "scratch")  # of every package: scripts/loop_peer.py


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a training; the defaults are the question's setting."""

    hidden: int = 50
    batch: int = 32
    window: int = 30
    features: int = 4
    windows: int = 2048

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return self.windows // self.batch


SHAPES = {
    "question": Shape(),
    "medium": Shape(hidden=128, batch=64, features=8),
    "large": Shape(hidden=512, batch=128, window=100, features=16),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one package trains, again in every repetition.

    part      of the benchmark
    axis      what the part compares or varies: a name of SHAPES, or a field of Job or Shape; `value` is its value
    package   a name in process.PACKAGES
    cores     of each process, which trains its share of the members; () are all cores
    arm       how the epochs are called: one of ARMS, or one of ours alone (scripts/ours_peer.py)
    repeated  whether it is timed; otherwise it runs once, so that losses can be compared
    memory    whether the bytes of the compiled program are asked for, which compiles it once more
    """

    part: str
    axis: str
    value: int | None = None
    package: str
    shape: Shape
    members: int = 1
    epochs: int
    cores: tuple[tuple[int, ...], ...] = ((),)
    arm: str = "one_call"
    repeated: bool = True
    memory: bool = False

    @property
    def title(self) -> str:
        """What is measured, whichever package does it."""
        return f"{self.part}: {self.axis}" + f" {self.value}" * (self.value is not None)

    @property
    def key(self) -> str:
        """What tells this job from the others of its run."""
        sizes = "-".join(map(str, astuple(self.shape)))
        cores = "; ".join(",".join(map(str, process)) or "all" for process in self.cores)
        work = f"{self.arm}, {self.members} × {self.epochs} epochs of {sizes}"
        return f"{self.title}, {self.package}, {work}, cores {cores}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One repetition of a job."""

    job: Job
    repetition: int  # 0 is the first, which compiles
    seconds: float
    losses: tuple[float, ...] = ()  # of the last epoch, of each member
    version: str = ""  # of the package, and its device
    bytes: int = 0  # that the compiled program takes for all members; 0 where it was not asked for
    flops: float = 0.0  # of a product


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All rows of a benchmark; `lost` says why packages were not measured, or not to the end."""

    rows: list[Row]
    lost: dict[str, str]
