"""Colours of the classes in files that carry colours, the same for one class in every file."""

from __future__ import annotations

Colour = tuple[int, int, int]

# Paul Tol's "muted" and "bright" schemes without their greys (https://sronpersonalpages.nl/~pault/), made to be
# told apart by people with any form of colour blindness; the most distinct come first.
_COLOURS: tuple[Colour, ...] = (
    (204, 102, 119),
    (136, 204, 238),
    (221, 204, 119),
    (17, 119, 51),
    (170, 68, 153),
    (51, 34, 136),
    (68, 170, 153),
    (136, 34, 85),
    (153, 153, 51),
    (68, 119, 170),
    (238, 102, 119),
    (34, 136, 51),
    (204, 187, 68),
    (102, 204, 238),
    (170, 51, 119),
)


def colour(index: int) -> Colour:
    """Return the red, green and blue (0 to 255) of the class with this ``index``; they repeat after the last.

    Args:
        index: 0 for the first foreground class.
    """
    return _COLOURS[index % len(_COLOURS)]
