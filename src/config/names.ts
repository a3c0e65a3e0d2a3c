/** Which names masters, hooks and apps may have, and what a text that is none is turned into. */

/** Names of masters and hooks: they become file names. */
export const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** Names of apps: without dots, because `web.3` is a worker; `host` is the machine, where a history is asked for. */
export const appNamePattern = /^(?!host$)[A-Za-z][A-Za-z0-9_-]{0,62}$/;

/** The app name that is most like `text`: `app.js` -> `app-js`; null when there is none. */
export function appNameLike(text: string): string | null {
  const like = text
    .replace(/[^A-Za-z0-9_-]+/g, '-')
    .replace(/^[^A-Za-z]+|-+$/g, '')
    .slice(0, 63);
  return appNamePattern.test(like) ? like : null;
}

/** The name of a master or a hook that is most like `text`; null when there is none. */
export function nameLike(text: string): string | null {
  const like = text
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+|-+$/g, '')
    .slice(0, 63);
  return namePattern.test(like) ? like : null;
}
