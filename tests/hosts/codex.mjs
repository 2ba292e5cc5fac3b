// Codex's app server: JSON-RPC without its version, a message a line.
import { createInterface } from 'node:readline';

export class AppServer {
  #child;
  #next = 1;
  #waiting = new Map();

  constructor(child) {
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const message = JSON.parse(line);
      const waiting = message.method ? undefined : this.#waiting.get(message.id);
      if (!waiting) return;
      this.#waiting.delete(message.id);
      if (message.error) waiting.reject(new Error(message.error.message));
      else waiting.resolve(message.result);
    });
    child.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the app server has ended'));
    });
  }

  ask(method, params) {
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.tell(method, params, id);
    return answer;
  }

  tell(method, params, id) {
    this.#child.stdin.write(`${JSON.stringify({ id, method, params })}\n`);
  }

  end() {
    this.#child.kill();
  }
}
