/**
 * A stream of text as lines. A line is given out once its newline has come; a rest without one is a cut line and
 * is dropped, because half a JSON document means nothing.
 */
export async function* linesOf(pieces: AsyncIterable<unknown>): AsyncGenerator<string> {
  let rest = '';
  for await (const piece of pieces) {
    rest += String(piece);
    let start = 0;
    for (let end = rest.indexOf('\n'); end !== -1; end = rest.indexOf('\n', start)) {
      if (end > start) yield rest.slice(start, end);
      start = end + 1;
    }
    rest = rest.slice(start);
  }
}
