"use strict";
// Keys are named where they act: an element with data-keys is clicked by any of them.
(() => {
  const help = document.getElementById("help");
  const reason = document.getElementById("reason");
  const reject = document.querySelector("button.reject");

  const rejectOrAsk = () => {
    if (reason.value.trim()) { reject.click(); return; }
    reason.focus();
  };

  if (reject) {
    reject.addEventListener("click", (event) => {
      if (reason.value.trim()) return;
      event.preventDefault();
      reason.focus();
    });
    reason.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); reject.click(); }
      if (event.key === "Escape") reason.blur();
      event.stopPropagation();
    });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || help.open) return;
    if (event.target instanceof Element && event.target.closest("input, textarea, select")) return;
    if (event.key === "?") { event.preventDefault(); help.showModal(); return; }
    if (event.key === "r" && reject) { event.preventDefault(); rejectOrAsk(); return; }
    // Texts that scroll sideways keep their arrows.
    if (event.key.startsWith("Arrow") && event.target instanceof Element && event.target.closest("[role=region]")) return;
    const target = document.querySelector(`[data-keys~="${CSS.escape(event.key)}"]`);
    if (target) { event.preventDefault(); target.click(); }
  });
  for (const button of document.querySelectorAll("button.help")) {
    button.addEventListener("click", () => help.showModal());
  }
})();
