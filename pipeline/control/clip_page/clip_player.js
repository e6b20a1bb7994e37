// Plays film strips in canvases: all clips on one clock, in a loop with a pause at the end.

const PAUSE_MS = 700; // the last frames stay for so long

export class ClipPlayer {
  // `clips` are {facts, image, canvas, bar}; without an image nothing is drawn.
  constructor(clips, speed) {
    this.clips = clips;
    this.speed = speed;
    this.length = Math.max(...clips.map(({ facts }) => facts.frames / facts.fps)); // seconds, of the longer clip
    for (const { facts, bar } of clips) bar.parentElement.style.width = `${(100 * facts.frames) / facts.fps / this.length}%`;
    this.plays = 0;
  }

  start() {
    this.replay();
    this.frame = requestAnimationFrame((now) => this.step(now));
  }

  stop() {
    cancelAnimationFrame(this.frame);
  }

  replay() {
    this.seconds = 0; // of the clips, at normal speed
    this.rested = 0; // milliseconds at the end
    this.last = null;
    this.plays += 1;
    this.clips.forEach((clip) => {
      clip.shown = -1;
      clip.canvas.dataset.plays = this.plays;
    });
    this.draw();
  }

  step(now) {
    this.frame = requestAnimationFrame((next) => this.step(next));
    const passed = this.last === null ? 0 : now - this.last;
    this.last = now;
    if (this.seconds < this.length) this.seconds = Math.min(this.length, this.seconds + (this.speed * passed) / 1000);
    else this.rested += passed;
    if (this.rested >= PAUSE_MS) this.replay();
    else this.draw();
  }

  draw() {
    for (const clip of this.clips) {
      const { facts, image, canvas, bar } = clip;
      const played = Math.min(facts.frames, this.seconds * facts.fps); // frames, with a part of the present one
      bar.style.transform = `scaleX(${played / facts.frames})`;
      const number = Math.min(facts.frames - 1, Math.floor(played + 1e-6));
      if (number === clip.shown || image === null) continue;
      const x = (number % facts.columns) * (facts.width + facts.gap), y = Math.floor(number / facts.columns) * (facts.height + facts.gap);
      canvas.getContext("2d").drawImage(image, x, y, facts.width, facts.height, 0, 0, facts.width, facts.height);
      clip.shown = canvas.dataset.frame = number;
    }
  }
}
