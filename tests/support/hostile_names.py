"""Names that attack what they are written into; no tests here."""

from __future__ import annotations

PAYLOADS = [
    *(
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        r"\input{/etc/passwd}",
        "50% & $x_1^2$ #~{}",
        "a|b\nc",
    ),
    *(
        "<script>alert(1)</script>",
        "[x](javascript:1)",
        "**b** `c` _d_",
        "[bold red]x[/]",
        "\x1b[31mred",
        r"$\frac{$",
        "\u202egnp",
    ),
]
