"use strict";
// Citations light up what they rest on; folded parts open when something in them is asked for.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  let pinned = null;
  let shown = null;

  const lit = (id, on) => {
    const card = document.getElementById(id);
    if (card) card.classList.toggle("shown", on);
    const claim = CSS.escape(id);
    const places = `.claim[data-claim="${claim}"], .cite[data-claim="${claim}"], mark[data-claims~="${claim}"]`;
    for (const place of document.querySelectorAll(places)) place.classList.toggle("lit", on);
    const panel = card && card.closest(".evidence");
    if (panel) {
      panel.classList.toggle("open", on);
      panel.querySelector(".close").hidden = !on;
      if (on) bringIn(panel, card.querySelector("mark"));
    }
  };

  // Scrolls the panel alone: the reader's place in the report stays.
  const bringIn = (panel, mark) => {
    panel.scrollTop = 0;
    if (!mark) return;
    const below = mark.getBoundingClientRect().bottom - panel.getBoundingClientRect().bottom;
    if (below > 0) panel.scrollTop = below + 24;
  };

  const show = (id) => {
    if (shown === id) return;
    if (shown) lit(shown, false);
    shown = id;
    if (shown) lit(shown, true);
  };

  const open = (element) => {
    for (let at = element; at; at = at.parentElement) {
      if (at.tagName === "DETAILS") at.open = true;
    }
  };

  const pin = (id) => {
    pinned = id;
    for (const cite of document.querySelectorAll(".cite[data-claim]")) {
      if (cite.dataset.claim === id) cite.setAttribute("aria-current", "true");
      else cite.removeAttribute("aria-current");
    }
    show(id);
    if (id) for (const mark of document.querySelectorAll(`mark[data-claims~="${CSS.escape(id)}"]`)) open(mark);
  };

  const citation = (event) => event.target instanceof Element && event.target.closest(".cite[data-claim], .claim");

  document.addEventListener("mouseover", (event) => {
    const at = citation(event);
    if (at) show(at.dataset.claim);
    else if (pinned !== shown && !event.target.closest(".evidence")) show(pinned);
  });
  document.addEventListener("focusin", (event) => {
    const at = citation(event);
    if (at) show(at.dataset.claim);
  });
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    if (event.target.closest(".close")) { pin(null); return; }
    const at = event.target.closest(".cite[data-claim]");
    if (at) {
      event.preventDefault();
      pin(pinned === at.dataset.claim ? null : at.dataset.claim);
      return;
    }
    const jump = event.target.closest('a[href^="#"]');
    if (jump) reveal(jump.getAttribute("href"));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && (pinned || shown)) pin(null);
  });

  const reveal = (hash) => {
    const target = hash.length > 1 && document.getElementById(hash.slice(1));
    if (!target) return;
    open(target);
    for (const inner of target.children) if (inner.tagName === "DETAILS") inner.open = true;
    if (target.classList.contains("card")) pin(target.id);
  };
  window.addEventListener("hashchange", () => reveal(location.hash));
  reveal(location.hash);
})();
