/**
 * What an operator should know of an app, for as long as it holds: of a worker (its id) until that is gone, of a revision (its number)
 * until there are no workers of it any more, and will be none. A message that several have said is told once.
 */
export class AppWarnings {
  readonly #saidOf = new Map<string, Set<string | number>>();

  get messages(): readonly string[] {
    return [...this.#saidOf.keys()];
  }

  /** @returns whether it is new */
  add(message: string, about: string | number): boolean {
    const known = this.#saidOf.get(message);
    this.#saidOf.set(message, (known ?? new Set()).add(about));
    return known === undefined;
  }

  /** @param isOver of the id of a worker, or of the number of a revision */
  forget(isOver: (about: string | number) => boolean): void {
    for (const [message, said] of this.#saidOf) {
      for (const about of said) if (isOver(about)) said.delete(about);
      if (said.size === 0) this.#saidOf.delete(message);
    }
  }
}
