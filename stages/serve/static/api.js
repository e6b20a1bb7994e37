// Client of the HTTP API: sends the token if the server requires one, and retries while it is busy.

const MAX_ATTEMPTS = 6; // while the server's queue is full
const KEY = "token";

export class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

// Stored for this tab only; the server checks it.
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
  problem.retryAfter = Number(reply.headers.get("Retry-After")) || 1;
  throw problem;
}

export const model = () => request("model");

// The prediction for one file: {label, confidence, probabilities, reference?}.
export async function classify(file, waiting = () => {}) {
  const options = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return (await request("predict?reference=true", options)).predictions[0];
    } catch (problem) {
      if (problem.status !== 503 || attempt === MAX_ATTEMPTS) throw problem;
      waiting();
      await new Promise((done) => setTimeout(done, 1000 * problem.retryAfter));
    }
  }
}
