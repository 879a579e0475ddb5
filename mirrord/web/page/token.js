// The form for the API token: asked for when it is needed, kept in this tab.

import { keepToken } from "./api.js";
import { byId, setText, show } from "./dom.js";

export class TokenForm {
  constructor() {
    this.dialog = byId("token");
    this.input = byId("token-value");
    this.settle = null;
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.accept();
    });
    byId("token-cancel").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.finish(false));
  }

  // Resolves to whether a token was given. `wrong` says that the one before was not accepted.
  request({ headline, why, wrong = "" }) {
    setText(byId("token-headline"), headline);
    setText(byId("token-why"), why);
    this.refuse(wrong);
    this.input.value = "";
    if (!this.dialog.open) this.dialog.showModal();
    this.input.focus();
    return new Promise((resolve) => {
      this.settle?.(false);
      this.settle = resolve;
    });
  }

  refuse(text) {
    setText(byId("token-error"), text);
    show(byId("token-error"), text !== "");
    if (text) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }

  accept() {
    const value = this.input.value.trim();
    // What a header cannot carry is no token; fetch would throw, and say nothing of use.
    if (!/^[\x21-\x7e]+$/.test(value)) return this.refuse("A token is one word of letters, digits and signs, without spaces.");
    keepToken(value);
    const settle = this.settle;
    this.settle = null;
    this.input.value = "";
    this.dialog.close();
    settle?.(true);
    return undefined;
  }

  finish(given) {
    this.input.value = "";
    this.settle?.(given);
    this.settle = null;
  }
}
