// The server's interface: a token where it asks for one, and patience when it is busy.

const TRIES = 6; // while the server says that it is full
const KEY = "token";

export class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

// Kept for this tab only; the server is asked whether it is the right one.
export const remember = (token) => sessionStorage.setItem(KEY, token);
export const forget = () => sessionStorage.removeItem(KEY);
export const hasToken = () => sessionStorage.getItem(KEY) !== null;

async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (hasToken()) headers.Authorization = `Bearer ${sessionStorage.getItem(KEY)}`;
  let reply;
  try {
    reply = await fetch(path, { ...options, headers });
  } catch {
    throw new Problem("The server did not answer; is it still running?");
  }
  if (reply.ok) return reply.json();
  const body = await reply.json().catch(() => ({}));
  const problem = new Problem(typeof body.detail === "string" ? body.detail : reply.statusText, reply.status);
  problem.again = Number(reply.headers.get("Retry-After")) || 1;
  throw problem;
}

export const model = () => request("model");

// What is said of one file: {label, confidence, probabilities, reference?}.
export async function classify(file, waiting = () => {}) {
  const options = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return (await request("predict?reference=true", options)).predictions[0];
    } catch (problem) {
      if (problem.status !== 503 || attempt === TRIES) throw problem;
      waiting();
      await new Promise((done) => setTimeout(done, 1000 * problem.again));
    }
  }
}
