// The script editor: numbers beside the lines, the wrong one marked, Tab and Enter that know of indentation.
"use strict";
for (const editor of document.querySelectorAll(".editor")) {
  const text = editor.querySelector("textarea");
  const numbers = document.createElement("pre");
  numbers.className = "numbers";
  numbers.setAttribute("aria-hidden", "true");
  editor.prepend(numbers);
  let wrong = Number(editor.dataset.errorLine || 0);
  const number = () => {
    const lines = text.value.split("\n").length;
    if (numbers.childElementCount === lines) return;
    numbers.replaceChildren(...Array.from({ length: lines }, (_, place) => {
      const line = document.createElement("span");
      line.textContent = `${place + 1}\n`;
      if (place + 1 === wrong) line.className = "wrong";
      return line;
    }));
  };
  const insert = (words) => {
    text.setRangeText(words, text.selectionStart, text.selectionEnd, "end");
    text.dispatchEvent(new Event("input"));
  };
  const lineBegin = () => text.value.lastIndexOf("\n", text.selectionStart - 1) + 1;
  number();
  text.addEventListener("input", () => { wrong = 0; number(); });
  text.addEventListener("scroll", () => { numbers.scrollTop = text.scrollTop; });
  let leaves = false;  // after Esc the next Tab goes on to the next field: nobody is caught in here
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { leaves = true; return; }
    if (event.key === "Tab" && !leaves && !event.ctrlKey && !event.altKey) {
      const begin = lineBegin();
      if (!event.shiftKey) {
        event.preventDefault();
        insert("    ");
      } else if (/^ {1,4}/.test(text.value.slice(begin))) {
        event.preventDefault();
        const end = text.selectionStart;
        const taken = text.value.slice(begin).match(/^ {1,4}/)[0].length;
        text.setRangeText("", begin, begin + taken, "end");
        text.selectionStart = text.selectionEnd = Math.max(begin, end - taken);
        text.dispatchEvent(new Event("input"));
      }
    } else if (event.key === "Enter") {
      event.preventDefault();
      const before = text.value.slice(lineBegin(), text.selectionStart);
      insert(`\n${before.match(/^ */)[0]}${/:\s*$/.test(before) ? "    " : ""}`);
    }
    if (event.key !== "Shift") leaves = false;
  });
  if (wrong) {
    const begin = text.value.split("\n").slice(0, wrong - 1).reduce((sum, line) => sum + line.length + 1, 0);
    text.setSelectionRange(begin, begin);
    text.focus();
  }
}
