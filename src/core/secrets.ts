/**
 * What must not be shown: values of variables whose names say that they are secret, and the user and password in URLs.
 * Every place that prints an environment value, or a text that may contain one, goes through these functions.
 */

const secretName = /key|secret|token|password|passwd|credential|dsn|auth/i;

/** The scheme, then everything up to the last @ before the host ends. */
const urlUserInfo = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#]*@/gi;

/** What is shown in place of a secret. */
export const mask = '***';

/** Whether a variable of this name holds a secret, judged by its name. */
export function isSecretName(name: string): boolean {
  return secretName.test(name);
}

/** The text with the user and password of every URL in it masked: `postgres://***@db/shop`. */
export function maskText(text: string): string {
  return text.replace(urlUserInfo, `$1${mask}@`);
}

/** The value of the variable `name` as it may be shown. An empty value stays empty: it hides nothing. */
export function maskValue(name: string, value: string): string {
  return value !== '' && isSecretName(name) ? mask : maskText(value);
}
