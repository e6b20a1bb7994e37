// Answers on their way to the server. They wait in the browser's storage until the server says that they are on disk,
// are sent in order, and are sent again after a broken connection, a restarted server or a reload.

const FIRST_RETRY = 400, LAST_RETRY = 8000, AT_ONCE = 50;

export class Outbox {
  constructor(name, { onChange, onProgress, onRefused }) {
    this.name = `outbox ${name}`;
    this.onChange = onChange;
    this.onProgress = onProgress;
    this.onRefused = onRefused;
    this.entries = JSON.parse(localStorage.getItem(this.name) ?? "[]");
    this.problem = "";
    this.retry = FIRST_RETRY;
    this.busy = false;
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
    const batch = this.entries.slice(0, AT_ONCE);
    try {
      const answers = batch.map(({ at, ...entry }) => ({ ...entry, age_ms: Math.max(0, Date.now() - at) }));
      const reply = await post("answers", { answers });
      const gone = new Set([...reply.stored, ...reply.refused.map((refused) => refused.id)]);
      this.entries = this.entries.filter((entry) => !gone.has(entry.id));
      this.problem = "";
      this.retry = FIRST_RETRY;
      this.save();
      if (reply.refused.length) this.onRefused(reply.refused);
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
  throw Object.assign(new Error(typeof detail === "string" ? detail : "the server did not understand"), { status: response.status });
}
