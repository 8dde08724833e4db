// Asks "Are you sure?" as a button's confirmation dialog says it.

const said = (nodes) => nodes.map((node) => (typeof node === "string" ? node : said(node.children || []))).join("");

// A promise of the answer.
export function confirmed(dialog, { title, text, confirm, deny, style }) {
  const part = (name) => dialog.querySelector(`#ask-${name}`);
  part("title").textContent = said(title) || "Are you sure?";
  part("text").textContent = said(text);
  part("yes").textContent = said(confirm) || "Yes";
  part("no").textContent = said(deny) || "Cancel";
  part("yes").className = `button ${style === "danger" ? "danger solid" : "primary"}`;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
