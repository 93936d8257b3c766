"use strict";
for (const box of document.querySelectorAll("[data-toggles]")) {
  box.addEventListener("change", () => {
    document.body.classList.toggle("without-" + box.dataset.toggles, !box.checked);
  });
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
