/**
 * Tells systemd what the event stream says: READY when every app serves, STATUS with how many workers are ready,
 * STOPPING when it ends. It only subscribes; the master knows nothing of systemd.
 */
import type { Event, Snapshot } from '../core/protocol.ts';

/** What sd_notify(3) takes, one state a call. */
export interface ServiceNotifier {
  send(state: string): void;
}

/** Subscribes a notifier to the stream. @param snapshot the master as it is when an event comes */
export function reportToSystemd(notifier: ServiceNotifier, snapshot: () => Snapshot): (event: Event) => void {
  let said = '';
  const status = (text: string) => {
    if (text !== said) notifier.send(`STATUS=${text}`);
    said = text;
  };
  return (event) => {
    if (event.type === 'master.running') notifier.send('READY=1');
    if (event.type === 'master.stopping') notifier.send('STOPPING=1');
    if (event.type === 'hook.running') return status(`running ${event.phase} hook ${event.hook}`);
    if (event.type.startsWith('app.') || event.type.startsWith('master.')) status(inWords(snapshot()));
  };
}

function inWords({ state, apps }: Snapshot): string {
  const each = apps.map((app) => `${app.name} ${app.ready}/${app.goal} ready`).join(', ');
  return each === '' ? state : `${state}: ${each}`;
}
