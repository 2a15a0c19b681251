"use strict";
(() => {
  const dialog = document.getElementById("large");
  const cards = [...document.querySelectorAll("button.card")];
  if (!dialog || !cards.length) return;
  const stage = dialog.querySelector(".large");
  const caption = dialog.querySelector(".told");
  let at = 0;

  const show = (number) => {
    at = (number + cards.length) % cards.length;
    const card = cards[at];
    const frame = card.querySelector(".frame");
    stage.replaceChildren();
    if (frame) {
      const bare = frame.cloneNode(true);
      for (const map of bare.querySelectorAll(".map")) map.remove();
      stage.append(bare);
      if (frame.querySelector(".map")) stage.append(frame.cloneNode(true));
    }
    caption.replaceChildren(...card.querySelector(".caption").cloneNode(true).childNodes);
    if (!dialog.open) dialog.showModal();
  };

  cards.forEach((card, number) => card.addEventListener("click", () => show(number)));
  dialog.querySelector(".before").addEventListener("click", () => show(at - 1));
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.querySelector(".after").addEventListener("click", () => show(at + 1));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(at - 1);
    if (event.key === "ArrowRight") show(at + 1);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => cards[at].focus());
})();
