// The line under a thread.

// `send(text)` returns a promise that rejects with what to tell.
export function replies(form, send) {
  const input = form.querySelector("input");
  const note = form.querySelector(".note");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    note.textContent = "";
    try {
      await send(text);
    } catch (problem) {
      note.textContent = problem.message;
      input.value ||= text;
    }
  });
}
