import re
from xml.etree import ElementTree

import matplotlib

from museg.report.drawing import COLOURS, Margins, drawing_style, new_axes, save

MARGINS = Margins(0.5, 0.1, 0.2, 0.3)


def draw(tmp_path, name="one", text="plain"):
    with drawing_style():
        figure, axes = new_axes(4.0, 2.0, MARGINS)
        axes.plot([0, 1], [0, 1], color=COLOURS["blue"], marker="o", label=text)
        axes.legend()
        return save(figure, name, text, tmp_path)


def test_colours_follow_the_theme_and_fall_back(tmp_path):
    svg = draw(tmp_path).svg
    assert f"var(--blue, {COLOURS['blue']})" in svg
    assert svg.count(COLOURS["blue"]) == svg.count(f"var(--blue, {COLOURS['blue']})")


def test_identifiers_are_the_pictures_own_and_resolve(tmp_path):
    for name in ("one", "two"):
        root = ElementTree.fromstring(draw(tmp_path, name).svg)
        ids = {element.get("id") for element in root.iter()} - {None}
        values = [value for element in root.iter() for value in element.attrib.values()]
        used = {match[1] for value in values for match in re.finditer(r"(?:url\(|^)#([\w.-]+)", value)}
        assert ids
        assert used == ids
        assert all(identifier.startswith(f"{name}-") for identifier in ids)


def test_nothing_in_a_picture_acts_on_the_page(tmp_path):
    root = ElementTree.fromstring(draw(tmp_path).svg)
    tags = {element.tag for element in root.iter()}
    assert tags <= {"svg", "g", "path", "text", "defs", "use", "clipPath", "rect"}
    assert not any(key.startswith("on") or "http" in value for e in root.iter() for key, value in e.attrib.items())


def test_a_hostile_text_stays_text_and_no_formula(tmp_path):
    text = '$x^2$ $\\frac{1}{$ </text></svg><script>1</script> "url(#a)" #1c2330'
    svg = draw(tmp_path, text=text).svg
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == text
    assert text in [element.text for element in root.iter("text")]
    assert "<script" not in svg


def test_the_users_settings_change_nothing_and_are_left_alone(tmp_path):
    expected = draw(tmp_path, "same").svg
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True, "lines.linewidth": 9}):
        assert draw(tmp_path, "same").svg == expected
        assert matplotlib.rcParams["font.size"] == 30


def test_a_glyph_no_font_has_is_no_warning(tmp_path, recwarn):
    assert draw(tmp_path, text="时间 🎬").png.stat().st_size > 1000
    assert not recwarn.list
