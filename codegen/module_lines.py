"""The text of a written module that is the same in all, and how lines are made to fit its width."""

from __future__ import annotations

import textwrap

WIDTH = 120


def docstring(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').strip()
    lines = escaped.split("\n")
    escaped = "\n".join("\n".join(textwrap.wrap(line, WIDTH - 4, subsequent_indent=" " * 8) or [""]) for line in lines)
    return f'"""{escaped}"""' if "\n" not in escaped else f'"""{escaped}\n"""'


def wrapped(line: str, indent: int) -> list[str]:
    """A line in as many as it takes: comments between words, code after the commas inside brackets."""
    space = " " * indent
    if len(line) + indent <= WIDTH:
        return [space + line]
    if line.startswith("#"):
        return textwrap.wrap(line[2:], WIDTH, initial_indent=f"{space}# ", subsequent_indent=f"{space}#     ")
    cuts, depth, inside = [], 0, False
    for position, c in enumerate(line):
        inside ^= c == '"'
        depth += 0 if inside else (c in "([{") - (c in ")]}")
        if c == "," and depth and not inside and line[position + 1 : position + 2] == " ":
            cuts.append(position + 1)
    lines, start, inner = [], 0, space
    while len(line) - start + len(inner) > WIDTH:
        fitting = [c for c in cuts if start < c <= start + WIDTH - len(inner)] or [c for c in cuts if c > start][:1]
        if not fitting:
            break
        lines.append(inner + line[start : fitting[-1]])
        start, inner = fitting[-1] + 1, space + "    "
    return [part if len(part) <= WIDTH else f"{part}  # noqa: E501" for part in (*lines, inner + line[start:])]


def shortened(line: str) -> list[str]:
    """A line of the file, in several where it is too long."""
    if len(line) <= WIDTH or line.endswith("# noqa: E501"):
        return [line]
    return wrapped(line.lstrip(), len(line) - len(line.lstrip()))


HELPERS = '''\
_workspaces = {}  # for the sizes met last: the workspaces that no call is using


def _take(make, *sizes):
    """A workspace for these sizes, for one call; those of the eight sets of sizes used last are kept."""
    free = _workspaces.pop((make, sizes), [])
    _workspaces[make, sizes] = free  # the sizes used last stand at the end
    for key in list(_workspaces)[:-8]:
        _workspaces.pop(key, None)
    try:
        return free.pop()
    except IndexError:
        return make(*sizes)


def _put_back(run, make, *sizes):
    _workspaces.setdefault((make, sizes), []).append(run)


def _check_names(parameters):
    missing = [name for name in PARAMETERS if name not in parameters]
    unknown = [name for name in parameters if name not in PARAMETERS]
    if missing or unknown:
        told = f"lack {', '.join(missing)}" if missing else f"hold {', '.join(unknown)}, which is none of them"
        raise ValueError(f"the parameters {told}; they are {', '.join(PARAMETERS)}")


def _array(name, value, dtype, shape):
    """A value as an array of this dtype and shape, where that loses nothing; None in the shape is any length."""
    array = np.asarray(value)
    if array.dtype != dtype:
        listed = not isinstance(value, (np.ndarray, np.generic)) and array.dtype.kind in "bif"
        if not (listed and array.dtype.kind <= np.dtype(dtype).kind or np.can_cast(array.dtype, dtype, "safe")):
            fit = f"{name}.astype({np.dtype(dtype).name!r}) would fit"
            raise TypeError(f"{name} is {array.dtype.name}, but {np.dtype(dtype).name} is wanted; {fit}")
        array = array.astype(dtype)
    if array.ndim != len(shape) or any(m not in (None, n) for n, m in zip(array.shape, shape)):
        wanted = str(tuple("any" if m is None else int(m) for m in shape)).replace("'", "")
        raise ValueError(f"{name} has shape {array.shape}, but {wanted} is wanted")
    if 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}: there is nothing to compute with")
    return array
'''

HELD = '''

def _held(state, name, dtype, shape):
    """An array of the state, which is written in place: so it has to be just as `initial_state` made it."""
    array = state.get(name)
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape or not array.flags.carray:
        raise ValueError(f"state[{name!r}] is not the {np.dtype(dtype).name} array of shape {shape} of initial_state")
    return array
'''

ORTHOGONAL = '''\
def _orthogonal(rng, shape):
    """A matrix with orthogonal rows or columns, distributed evenly over all of them."""
    rows, columns = (shape[0], int(np.prod(shape[1:]))) if shape else (1, 1)
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray((q if rows >= columns else q.T).reshape(shape))
'''
