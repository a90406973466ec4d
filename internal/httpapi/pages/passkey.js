// Passkeys, for the pages of people. Without this script they have a password and
// the organisation's own login.
"use strict";

if (window.PublicKeyCredential && PublicKeyCredential.parseCreationOptionsFromJSON) {
  const trouble = document.getElementById("passkey-trouble");

  async function post(address, body, type) {
    const answer = await fetch(address, { method: "POST", headers: type ? { "Content-Type": type, Accept: "application/json" } : { Accept: "application/json" }, body });
    const said = await answer.json();
    if (!answer.ok) {
      throw new Error([said.title, said.detail].filter(Boolean).join(" "));
    }
    return said;
  }

  async function run(button) {
    const form = button.dataset.form && document.getElementById(button.dataset.form);
    // The passkey takes the place of the password; all else must be filled in.
    if (form && ![...form.elements].every((field) => field.type === "password" || field.reportValidity())) {
      return;
    }
    const begun = form
      ? await post(button.dataset.begin, new URLSearchParams(new FormData(form)), "application/x-www-form-urlencoded")
      : await post(button.dataset.begin);
    const making = button.dataset.passkey === "make";
    let made;
    try {
      made = making
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(begun.options.publicKey) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(begun.options.publicKey) });
    } catch {
      throw new Error(); // the browser's words are in its own language
    }
    const name = button.dataset.name && document.getElementById(button.dataset.name);
    const body = JSON.stringify({ ceremony: begun.ceremony, name: name ? name.value : "", next: button.dataset.next || "", answer: made.toJSON() });
    location.assign((await post(button.dataset.finish, body, "application/json")).next);
  }

  const general = trouble.textContent;
  for (const part of document.querySelectorAll("[data-passkeys]")) {
    part.hidden = false;
  }
  for (const button of document.querySelectorAll("button[data-passkey]")) {
    button.addEventListener("click", async () => {
      if (button.ariaDisabled) {
        return;
      }
      trouble.hidden = true;
      button.ariaDisabled = "true"; // disabled would take the focus away
      try {
        await run(button);
      } catch (error) {
        trouble.textContent = error.message || general;
        trouble.hidden = false;
      }
      button.ariaDisabled = null;
    });
  }
}
