"""One package per question, run by `python -m experiments.NAME`; `python -m experiments` lists them.

The docstring of each package has the question in its first line, and then what the list says of it.
"""

import importlib.util
import sys

if sys.argv[:1] == [
    "-m"
]:  # Python is looking for the module of `python -m`, and would only say that there is none
    module = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    if package == __name__ and name and importlib.util.find_spec(f"{package}.{name}") is None:
        from experiments.__main__ import unknown

        print(unknown(name), file=sys.stderr)
        raise SystemExit(2)
