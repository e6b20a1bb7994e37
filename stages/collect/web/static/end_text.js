// What the page says when it has no question to show: a title, and paragraphs of texts and elements.

import { element } from "./dom.js";

export function allAnswered(session, count) {
  const next = session.continues
    ? ["Leave this page open: further questions appear here when the model was trained on your answers."]
    : session.alone
      ? ["Close this page, press Ctrl-C in the terminal, and continue with ", element("code", { textContent: session.next_step }), "."]
      : ["You can close this page."];
  return ["All questions are answered. Thank you!", [[`You answered ${count} questions.`], next]];
}

export function nothingFree(wait) {
  const until = new Date(Date.now() + wait * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return ["No question is free at the moment", [[`Others are answering the remaining questions. The first becomes free at ${until} at the latest; this page checks again automatically.`]]];
}

// A command that goes on by itself does not serve its page while it trains.
export function noConnection(session, error) {
  if (error.status) return ["Waiting for the server", [[`Error of the server: ${error.message}; this page tries again automatically.`]]];
  if (session.continues) return ["The model is training", [["Further questions appear here when it has finished; leave this page open. The command in the terminal says how far it is."]]];
  return ["No connection", [["The next questions cannot be loaded; this page tries again automatically."]]];
}
