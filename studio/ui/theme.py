"""Tunesmith's look as data: one table of tokens, one Gradio theme made from it.

`COLOURS` is the only place where a colour is written. From it come the custom properties (`--ts-ink`, ...)
that `studio.css` uses, and the values handed to Gradio's own theme variables, for light and for dark.
"""

from typing import Any

import gradio as gr

from studio.core.assets import asset

# name: (light, dark). Text colours reach 4.5:1 on page, surface and sunken; borders of controls reach 3:1.
COLOURS = {
    # neutrals: warm paper by day, warm charcoal by night
    "page": ("#f6f5f1", "#141312"),
    "surface": ("#ffffff", "#1d1c1a"),
    "sunken": ("#f0eee8", "#272522"),
    "raised": ("#ffffff", "#3a3733"),
    "track": ("#e8e5dd", "#38352f"),
    "line": ("#e3e0d8", "#34322e"),
    "rule": ("#cbc6bb", "#4d4a45"),
    "edge": ("#8d877b", "#807a70"),
    "ink": ("#1d1b18", "#f3f0ea"),
    "ink-2": ("#55514a", "#c0bab0"),
    "ink-3": ("#686359", "#a29c91"),
    # the one accent: petrol
    "accent": ("#0a6480", "#6cc8df"),
    "accent-strong": ("#074c62", "#97dbec"),
    "accent-soft": ("#e2f0f4", "#17323b"),
    "fill": ("#0a6480", "#217d99"),
    "fill-strong": ("#074c62", "#1a667e"),
    "on-fill": ("#ffffff", "#ffffff"),
    # verdicts: always beside a shape and a word
    "good": ("#17713f", "#74cf9c"),
    "good-soft": ("#e3f3e9", "#17301f"),
    "warn": ("#7d5200", "#e9bb62"),
    "warn-soft": ("#faf0d8", "#352a13"),
    "bad": ("#ac261d", "#f5938a"),
    "bad-soft": ("#fbe8e5", "#3b1d1a"),
    # series: told apart by people with any kind of colour vision, and by dash and marker as well
    "series-1": ("#0a6480", "#6cc8df"),  # petrol
    "series-2": ("#c2550c", "#f0a05a"),  # vermilion
    "series-3": ("#9a5fd4", "#9f80f4"),  # violet
    "series-4": ("#4d3a12", "#e8e0c8"),  # umber by day, sand by night
}

SANS = (
    "-apple-system", "BlinkMacSystemFont", "Segoe UI Variable Text", "Segoe UI", "Inter", "Roboto",
    "Noto Sans", "Liberation Sans", "Arial", "system-ui", "sans-serif",
)  # fmt: skip
MONO = ("ui-monospace", "SF Mono", "Cascadia Mono", "Menlo", "Consolas", "Liberation Mono", "monospace")

# Which token each Gradio variable takes, in both modes. Everything not named here follows from these.
PAINT = {
    "page": "body_background_fill background_fill_secondary",
    "surface": "background_fill_primary block_background_fill input_background_fill input_background_fill_focus "
    "input_background_fill_hover checkbox_background_color checkbox_background_color_focus "
    "checkbox_background_color_hover checkbox_label_background_fill table_even_background_fill "
    "button_secondary_background_fill button_cancel_background_fill panel_background_fill",
    "sunken": "button_secondary_background_fill_hover checkbox_label_background_fill_hover code_background_fill "
    "table_odd_background_fill",
    "line": "border_color_primary block_border_color table_border_color panel_border_color",
    "rule": "button_secondary_border_color button_cancel_border_color checkbox_label_border_color",
    "edge": "input_border_color checkbox_border_color checkbox_border_color_hover",
    "ink": "body_text_color block_title_text_color block_label_text_color table_text_color accordion_text_color "
    "checkbox_label_text_color checkbox_label_text_color_selected button_secondary_text_color "
    "button_secondary_text_color_hover",
    "ink-2": "body_text_color_subdued block_info_text_color input_border_color_hover "
    "checkbox_label_border_color_hover button_secondary_border_color_hover",
    "ink-3": "input_placeholder_color",
    "accent": "border_color_accent slider_color loader_color stat_background_fill link_text_color "
    "link_text_color_visited input_border_color_focus checkbox_border_color_focus checkbox_border_color_selected "
    "checkbox_label_border_color_selected",
    "accent-strong": "link_text_color_hover link_text_color_active",
    "fill": "checkbox_background_color_selected button_primary_background_fill button_primary_border_color",
    "fill-strong": "button_primary_background_fill_hover button_primary_border_color_hover",
    "accent-soft": "color_accent_soft border_color_accent_subdued checkbox_label_background_fill_selected "
    "table_row_focus",
    "on-fill": "button_primary_text_color button_primary_text_color_hover",
    "bad": "error_text_color error_border_color error_icon_color button_cancel_text_color "
    "button_cancel_text_color_hover button_cancel_border_color_hover",
    "bad-soft": "error_background_fill button_cancel_background_fill_hover",
}

SHAPE = {
    "block_border_width": "0px", "block_padding": "0px", "block_radius": "0px", "block_shadow": "none",
    "block_title_text_size": "*text_md", "block_title_text_weight": "500", "block_info_text_size": "*text_sm",
    "block_label_background_fill": "transparent", "block_label_background_fill_dark": "transparent", "block_label_border_width": "0px", "panel_border_width": "1px",
    "container_radius": "*radius_lg", "form_gap_width": "16px", "layout_gap": "16px", "embed_radius": "0px",
    "section_header_text_size": "*text_md", "section_header_text_weight": "600", "prose_header_text_weight": "600",
    "input_border_width": "1px", "input_padding": "9px 12px", "input_radius": "*radius_md", "input_shadow": "none",
    "checkbox_border_radius": "*radius_sm", "checkbox_label_padding": "9px 12px", "checkbox_label_gap": "8px",
    "checkbox_label_text_weight": "400", "chatbot_text_size": "*text_md", "table_radius": "*radius_lg",
    "button_border_width": "1px", "button_transition": "background-color 120ms, border-color 120ms",
    "button_large_padding": "10px 20px", "button_large_radius": "*radius_md", "button_large_text_size": "*text_md",
    "button_medium_padding": "9px 16px", "button_medium_radius": "*radius_md", "button_medium_text_size": "*text_md",
    "button_large_text_weight": "600", "button_medium_text_weight": "500",
    "button_small_padding": "6px 12px", "button_small_radius": "*radius_md", "button_small_text_size": "*text_sm",
    "button_small_text_weight": "500", "error_border_width": "1px",
    "shadow_drop": "none", "shadow_drop_lg": "0 8px 24px rgb(0 0 0 / 0.14)", "shadow_inset": "none",
}  # fmt: skip


SHAPES = {  # each state has its own outline, so it can be told without colour and without reading
    "queued": '<circle cx="8" cy="8" r="6"/><path d="M8 4.8v3.4l2.2 1.4"/>',
    "starting": '<circle cx="8" cy="8" r="6"/><path d="M8 2a6 6 0 0 1 6 6H8z" class="full"/>',
    "running": '<circle cx="8" cy="8" r="7"/><path d="M6.2 4.9v6.2L11.4 8z" class="full"/>',
    "finalizing": '<circle cx="8" cy="8" r="6"/><path d="M8 2a6 6 0 1 1-6 6h6z" class="full"/>',
    "succeeded": '<circle cx="8" cy="8" r="6.5" class="full"/><path d="m5 8.2 2.1 2.1L11 6.2" class="cut"/>',
    "stopping": '<rect x="2.5" y="2.5" width="11" height="11" rx="1.5"/>',
    "stopped": '<rect x="2.5" y="2.5" width="11" height="11" rx="1.5" class="full"/>',
    "failed": '<path d="M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2z" class="full"/><path d="m5.8 5.8 4.4 4.4m0-4.4-4.4 4.4" class="cut"/>',
    "interrupted": '<path d="M8 1.8 15 14H1z" class="full"/><path d="M8 6.2v3.4m0 2v.2" class="cut"/>',
}
ICONS = {  # 20 by 20, drawn with a line
    "Home": '<path d="M2.5 8.5 10 2.5l7.5 6v8.2h-5v-5h-5v5h-5z"/>',
    "Runs": '<path d="M2.5 16.5V12m5 4.5V7m5 9.5V9.5m5 7V3.5"/>',
    "Datasets": '<path d="M3 4.5h14v11H3zM3 8.2h14M3 11.8h14M8 8.2v7.3"/>',
    "Playground": '<path d="M2.5 3.5h15v10h-9l-3.5 3v-3H2.5z"/>',
    "New run": '<circle cx="10" cy="10" r="7.5"/><path d="M10 6.5v7M6.5 10h7"/>',
    "fork": '<path d="M5.8 2v6a4.2 4.2 0 0 0 8.4 0V2M10 12.2v6"/>',
    "contrast": '<circle cx="10" cy="10" r="7"/><path class="full" d="M10 3a7 7 0 0 1 0 14z"/>',
}

# Switches the mode and remembers it; Gradio itself follows the system or `?__theme=`. The skip link needs a script,
# because the page has a <base> and a bare #main would leave it. A button with data-ts-copy copies that text.
SWITCH = """<script>(() => {
  const kept = localStorage.getItem("tunesmith-theme"), body = document.body;
  if (kept) body.classList.toggle("dark", kept === "dark");
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-ts-theme]"))
      localStorage.setItem("tunesmith-theme", body.classList.toggle("dark") ? "dark" : "light");
    if (event.target.closest("[data-ts-skip]")) {
      event.preventDefault();
      const main = document.getElementById("main");
      main.tabIndex = -1;
      main.focus();
    }
    const copy = event.target.closest("[data-ts-copy]");
    if (copy) {
      const done = () => { copy.textContent = "Copied"; };
      const text = copy.dataset.tsCopy;
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(done);
      else {  // a page without https
        const box = document.createElement("textarea");
        box.value = text;
        copy.after(box);
        box.select();
        if (document.execCommand("copy")) done();
        box.remove();
        copy.focus();
      }
    }
  });
})();</script>"""


def hue(name: str, mode: int) -> str:
    """The hex value of a token; mode 0 is light, 1 is dark."""
    return COLOURS[name][mode]


def scale(name: str, ends: tuple[str, str], middle: str) -> gr.themes.Color:
    """Gradio wants eleven shades; blend them from one colour so that a forgotten corner still fits."""

    def blend(a: str, b: str, share: float) -> str:
        pairs = zip(bytes.fromhex(a[1:]), bytes.fromhex(b[1:]), strict=True)
        return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in pairs)

    up = [blend(ends[0], middle, share) for share in (0.04, 0.12, 0.25, 0.45, 0.7)]
    down = [blend(middle, ends[1], share) for share in (0.0, 0.15, 0.32, 0.5, 0.68, 0.82)]
    return gr.themes.Color(*up, *down, name=name)


def tokens_css() -> str:
    """Custom properties for our own markup, light on the root and dark below `.dark` (Gradio's switch)."""
    root, dark = ("\n".join(f"  --ts-{name}: {pair[mode]};" for name, pair in COLOURS.items()) for mode in (0, 1))
    return f":root {{\n{root}\n  color-scheme: light;\n}}\n.dark {{\n{dark}\n  color-scheme: dark;\n}}\n"


STYLESHEET = tokens_css() + asset("studio.css").read_text(encoding="utf-8")


class Studio(gr.themes.Base):
    """Gradio's theme, filled from the tokens."""

    # Gradio sends this text verbatim at the end of /theme.css, before the first paint. A property, because Gradio
    # turns every plain attribute of a theme into a CSS variable, this one included.
    custom_css: Any = property(lambda self: STYLESHEET, lambda self, value: None)

    def __init__(self) -> None:
        """Gradio's theme takes its values once, here."""
        sizes = gr.themes.Size
        super().__init__(
            primary_hue=scale("petrol", ("#ffffff", "#04212a"), hue("accent", 0)),
            secondary_hue=scale("petrol", ("#ffffff", "#04212a"), hue("accent", 0)),
            neutral_hue=scale("paper", ("#ffffff", "#141312"), hue("edge", 0)),
            text_size=sizes("11px", "12px", "13px", "15px", "17px", "20px", "28px", name="type"),
            spacing_size=sizes("2px", "4px", "4px", "8px", "8px", "12px", "16px", name="grid"),
            radius_size=sizes("2px", "4px", "4px", "8px", "12px", "12px", "16px", name="corner"),
            font=SANS,
            font_mono=MONO,
        )
        self.name = "tunesmith"
        self.neutral_200, self.neutral_200_dark = COLOURS["track"]  # a slider's track knows no variable of its own
        painted = {}
        for token, variables in PAINT.items():
            for variable in variables.split():
                painted[variable] = hue(token, 0)
                painted[variable + "_dark"] = hue(token, 1)
        self.set(**painted, **SHAPE, color_accent="var(--ts-accent)")
