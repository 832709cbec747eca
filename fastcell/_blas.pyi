"""Types of the compiled module."""

__test__: dict[str, str]  # by Cython

def addresses() -> tuple[int, int]: ...
