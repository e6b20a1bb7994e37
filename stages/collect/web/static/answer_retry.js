// Sends answers to the server until it acknowledges that they are on disk. Answers wait in the browser's storage, are
// sent in order, and are sent again after a broken connection, a restarted server or a reload. An answer that the server
// refuses without storing it is kept in the browser and sent again when the page is reloaded, because a server with
// another configuration may accept it.

const FIRST_RETRY = 400, LAST_RETRY = 8000; // milliseconds
const BATCH_SIZE = 50; // answers per request
const MAX_AGE_MS = 1e12 - 1; // the server's limit; a corrected clock may make an answer older

export class Outbox {
  constructor(name, { onChange, onProgress, onRefused }) {
    this.name = `outbox ${name}`;
    this.onChange = onChange;
    this.onProgress = onProgress;
    this.onRefused = onRefused;
    this.asideName = `refused ${name}`;
    this.entries = [...stored(this.asideName), ...stored(this.name)];
    this.again = new Set(stored(this.asideName).map((entry) => entry.id));
    localStorage.setItem(this.name, JSON.stringify(this.entries));
    localStorage.setItem(this.asideName, "[]");
    this.problem = "";
    this.retry = FIRST_RETRY;
    this.busy = false;
    this.sent = 0; // entries the server has taken or refused
    addEventListener("online", () => this.send());
    this.onChange(this);
    this.send();
  }

  static newId() {
    // crypto.randomUUID needs a secure context, which plain http in a local network is not.
    return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  get items() {
    return this.entries.map((entry) => entry.item).filter(Boolean);
  }

  add(entry) {
    this.entries.push({ ...entry, at: Date.now() });
    this.save();
    this.send();
  }

  save() {
    localStorage.setItem(this.name, JSON.stringify(this.entries));
    this.onChange(this);
  }

  async send() {
    if (this.busy || !this.entries.length) return;
    this.busy = true;
    clearTimeout(this.timer);
    const batch = this.entries.slice(0, BATCH_SIZE);
    try {
      const answers = batch.map(({ at, ...entry }) => ({ ...entry, age_ms: Math.min(MAX_AGE_MS, Math.max(0, Date.now() - at)) }));
      const reply = await post("answers", { answers });
      const finished = new Set([...reply.stored, ...reply.refused.map((refused) => refused.id)]);
      const lost = new Set(reply.refused.filter((refused) => !refused.late).map((refused) => refused.id));
      const aside = batch.filter((entry) => lost.has(entry.id) && !reply.stored.includes(entry.id));
      if (aside.length) localStorage.setItem(this.asideName, JSON.stringify([...stored(this.asideName), ...aside]));
      this.entries = this.entries.filter((entry) => !finished.has(entry.id));
      this.sent += batch.length;
      this.problem = "";
      this.retry = FIRST_RETRY;
      this.save();
      const news = reply.refused.filter((refused) => !this.again.has(refused.id));
      if (news.length) this.onRefused(news);
      this.onProgress(reply.progress);
    } catch (error) {
      this.problem = error.status ? error.message : "no connection";
      this.onChange(this);
      this.timer = setTimeout(() => this.send(), this.retry);
      this.retry = Math.min(LAST_RETRY, this.retry * 1.6);
      return;
    } finally {
      this.busy = false;
    }
    if (this.entries.length) this.send();
  }
}

function stored(name) {
  return JSON.parse(localStorage.getItem(name) ?? "[]");
}

export async function post(path, body) {
  return read(await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }));
}

export async function get(path) {
  return read(await fetch(path));
}

async function read(response) {
  if (response.ok) return response.json();
  let detail = response.statusText;
  try {
    detail = (await response.clone().json()).detail ?? detail;
  } catch {
    detail = (await response.text()) || detail;
  }
  throw Object.assign(new Error(typeof detail === "string" ? detail : "the request is invalid"), { status: response.status });
}
