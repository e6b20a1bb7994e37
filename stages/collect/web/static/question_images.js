// The images of a question are loaded before it is shown.

const RETRY_MS = 700; // between attempts to load an image

export function load(task) {
  task.loaded = task.images.map((url) => {
    const image = { node: null, failed: false };
    image.ready = fetchImage(image, url);
    return image;
  });
  task.ready = Promise.all(task.loaded.map((image) => image.ready));
  return task;
}

// An image fails if the server refuses it or the browser cannot decode it; without a connection it is tried again.
async function fetchImage(image, url) {
  for (let undecodable = 0; ; ) {
    image.node = new Image();
    image.node.decoding = "sync";
    image.node.src = url;
    try {
      await image.node.decode();
      return;
    } catch {
      const reply = await fetch(url, { cache: "reload" }).catch(() => null);
      if (reply?.ok) undecodable += 1;
      if (undecodable > 1 || (reply && !reply.ok && reply.status < 500)) {
        image.failed = true;
        return;
      }
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

export const isLoaded = (task) => task.loaded.every(({ node, failed }) => failed || (node.complete && node.naturalWidth > 0));
