// Loads a kind's own script and style sheets; null for kinds that the page itself shows.

export async function loadKind(session) {
  await Promise.all(session.styles.map(loadStyle));
  return session.script ? import(new URL(session.script, location.href)) : null;
}

function loadStyle(href) {
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
  document.head.append(link);
  return new Promise((done) => (link.onload = link.onerror = done));
}
