"""The one exception that means: the input or the request is wrong, and here is what to do."""

from __future__ import annotations


class InputError(ValueError):
    """A user can mend this: the message names the file or option, what is wrong, and what to do about it.

    The command line prints the message alone and exits with status 1; any other exception is a defect.
    """
