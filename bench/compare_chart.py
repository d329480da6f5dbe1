"""A bar chart as SVG: groups of horizontal bars; in each group the longest bar fills the width."""

from html import escape

WIDTH, LABELS, BAR, GAP = 860, 270, 18, 4
OURS, THEIRS = "#2f7d4f", "#9aa5ae"


def text(x, y, words, more=""):
    return f'<text x="{x}" y="{y}"{more}>{escape(words)}</text>'


def chart(groups):
    """groups: [(title, [(label, value), ...])]; bars whose label begins with Espalier are green."""
    shapes, y = [], 10
    room = WIDTH - LABELS - 110
    for title, bars in groups:
        y += BAR
        shapes.append(text(10, y, title + ", nodes/s", ' font-weight="bold"'))
        y += 8
        longest = max(value for _, value in bars)
        for label, value in bars:
            width = max(1, round(room * value / longest))
            colour = OURS if label.startswith("Espalier") else THEIRS
            shapes.append(text(LABELS - 8, y + 13, label, ' text-anchor="end"'))
            shapes.append(
                f'<rect x="{LABELS}" y="{y}" width="{width}" height="{BAR}" fill="{colour}"/>'
            )
            shapes.append(text(LABELS + width + 6, y + 13, f"{value:,.0f}"))
            y += BAR + GAP
        y += 8
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 6}" width="{WIDTH}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{y + 6}" fill="white"/>',
        *shapes,
        "</svg>\n",
    ])
