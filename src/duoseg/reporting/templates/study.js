"use strict";
for (const button of document.querySelectorAll("[data-copies]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    const words = button.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      // Where a page may not reach the clipboard, the text is at least selected.
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: copy it with the keyboard";
    }
    setTimeout(() => { button.textContent = words; }, 2500);
  });
}
