"""How far apart two colours look, to people of any colour vision."""

from math import atan2, cos, degrees, exp, hypot, radians, sin, sqrt

Triple = tuple[float, float, float]

# What people without one kind of cone see, of linear RGB. Source: Machado, Oliveira & Fernandes, A
# Physiologically-based Model for Simulation of Color Vision Deficiency (2009), supplementary tables, severity 1.0.
VISIONS: dict[str, tuple[Triple, Triple, Triple]] = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
# Source: IEC 61966-2-1 (sRGB), linear RGB to XYZ, and its white point D65.
_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)


def distance(one: str, other: str, vision: str = "normal") -> float:
    """Return the CIEDE2000 difference of two colours like '#0072B2'; about 2 is just visible side by side."""
    return ciede2000(lab_of(one, vision), lab_of(other, vision))


def lab_of(colour: str, vision: str = "normal") -> Triple:
    """Return a colour's CIELAB as a vision sees it."""
    linear = [_linear(int(colour[place : place + 2], 16) / 255) for place in (1, 3, 5)]
    seen = [min(1.0, max(0.0, value)) for value in _times(VISIONS[vision], linear)]
    x, y, z = (_lab_f(value / white) for value, white in zip(_times(_TO_XYZ, seen), _WHITE, strict=True))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _lab_f(value: float) -> float:
    edge = 6 / 29
    return value ** (1 / 3) if value > edge**3 else value / (3 * edge**2) + 4 / 29


def _times(matrix: tuple[Triple, Triple, Triple], values: list[float]) -> list[float]:
    return [sum(weight * value for weight, value in zip(row, values, strict=True)) for row in matrix]


def ciede2000(one: Triple, other: Triple) -> float:
    """Return the difference of two CIELAB colours.

    Source: Sharma, Wu & Dalal, The CIEDE2000 Color-Difference Formula (2005), equations 2 to 22.
    """
    l1, a1, b1 = one
    l2, a2, b2 = other
    mean_c = (hypot(a1, b1) + hypot(a2, b2)) / 2
    g = 0.5 * (1 - sqrt(mean_c**7 / (mean_c**7 + 25**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = hypot(a1, b1), hypot(a2, b2)
    h1, h2 = degrees(atan2(b1, a1)) % 360, degrees(atan2(b2, a2)) % 360
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    delta_h = 2 * sqrt(c1 * c2) * sin(radians(turn / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    mean_h = (h1 + h2) if c1 * c2 == 0 else (h1 + turn / 2) % 360
    t = (
        1
        - 0.17 * cos(radians(mean_h - 30))
        + 0.24 * cos(radians(2 * mean_h))
        + 0.32 * cos(radians(3 * mean_h + 6))
        - 0.20 * cos(radians(4 * mean_h - 63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    r_c = 2 * sqrt(mean_c**7 / (mean_c**7 + 25**7))
    r_t = -sin(radians(60 * exp(-(((mean_h - 275) / 25) ** 2)))) * r_c
    part_l, part_c, part_h = (l2 - l1) / s_l, (c2 - c1) / s_c, delta_h / s_h
    return sqrt(part_l**2 + part_c**2 + part_h**2 + r_t * part_c * part_h)
