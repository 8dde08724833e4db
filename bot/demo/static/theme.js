// Light, dark, or as the system has it.

const THEMES = ["system", "light", "dark"];

// `keep(theme)` remembers the choice.
export function themes(button, kept, keep) {
  function dress(theme) {
    document.documentElement.dataset.theme = theme;
    button.querySelector("span").textContent = `Theme: ${theme}`;
    keep(theme);
  }
  button.addEventListener("click", () => dress(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]));
  dress(THEMES.includes(kept) ? kept : "system");
}
