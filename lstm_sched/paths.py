"""Paths to the leaves of a tree, written as text and read again."""

import ast


def words(path: str) -> tuple[str, ...]:
    """The names on a path that `jax.tree_util.keystr` has written: `[0].mu['bias']` is 0, mu, bias.

    ValueError for any other text. Nothing in it is evaluated.
    """
    refused = ValueError(f"path: {path!r}; allowed: as jax.tree_util.keystr writes it")
    try:
        node: ast.expr = ast.parse(f"_{path}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refused from None
    found: list[str] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            found.append(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            found.append(str(node.slice.value))
        else:
            raise refused
        node = node.value
    return tuple(reversed(found))
