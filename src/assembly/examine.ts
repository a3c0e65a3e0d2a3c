/** What `doctor` looks at: this host, and the place of a master on it. Nothing is started, changed or ended. */
import { ControlClient } from '../control/client.ts';
import { judgeHost, diagnosis, type Diagnosis, type Finding, type Needs } from '../core/doctor.ts';
import { judgeDisk, judgeLeft, judgeMasters, judgePort, type MasterFacts } from '../core/doctor-place.ts';
import { SuperviseError } from '../core/errors.ts';
import { autoWorkers } from '../core/staffing.ts';
import type { AppSpec, ListenSpec, Spec } from '../core/spec.ts';
import { hostFacts } from '../system/doctor/host-facts.ts';
import { diskFacts, leftFacts, livingMasters, portFacts } from '../system/doctor/place-facts.ts';
import { knownRuntimes } from '../system/instance/directories.ts';
import type { MasterInfo } from '../system/instance/instance.ts';

export interface Examined {
  /** null: there is no config, or it is broken. */
  readonly spec: Spec | null;
  /** Of the master, as far as it is known. */
  readonly name: string | null;
  /** What was found out already. */
  readonly findings: readonly Finding[];
}

/** Takes some 100 ms: it runs systemctl, and tries the addresses of `listen`. */
export async function examine({ spec, name, findings }: Examined): Promise<Diagnosis> {
  const facts = hostFacts();
  const runtimes = knownRuntimes(name, process.env);
  const masters = livingMasters(runtimes);
  const disk = name === null ? null : diskFacts(name);
  return diagnosis([
    ...findings,
    ...judgeHost(facts, spec === null ? null : needsOf(spec, facts.cpus)),
    ...listensOf(spec).map((listen) => judgePort(portFacts(listen, masters))),
    ...judgeMasters(await Promise.all(masters.map(ask))),
    ...leftFacts(runtimes).map(judgeLeft),
    ...(disk === null ? [] : [judgeDisk(disk)]),
  ]);
}

function needsOf({ apps, hooks }: Spec, cpus: number): Needs {
  const workers = apps.reduce((sum, app) => sum + mostWorkers(app, cpus) + app.spares, 0);
  const users = [
    ...apps.map(({ identity }) => identity.user),
    ...Object.values(hooks)
      .flat()
      .map(({ user }) => user),
  ];
  return { workers, users: users.some((user) => user !== null) ? 'some' : 'none' };
}

function mostWorkers({ staffing, workers }: AppSpec, cpus: number): number {
  if (staffing.kind === 'scaled') return staffing.max;
  if (staffing.kind !== 'auto') return workers;
  // As many as the CPUs allow; what memory allows shows only when one runs.
  const unknown = { budgetBytes: null, workerBytes: null, othersBytes: 0, spares: 0, max: null };
  return autoWorkers({ usableCpus: cpus, cpuSource: '', ...unknown }).workers;
}

function listensOf(spec: Spec | null): readonly ListenSpec[] {
  const all = spec?.apps.flatMap(({ listen }) => listen) ?? [];
  return [...new Map(all.map((listen) => [listen.url, listen])).values()];
}

async function ask({ name, pid, socket }: MasterInfo): Promise<MasterFacts> {
  try {
    await new ControlClient(socket).hooks();
    return { name, pid, access: 'open' };
  } catch (error) {
    if (!(error instanceof SuperviseError)) throw error;
    // While it starts, or ends, nobody listens there yet, or any more.
    if (error.code === 'no-master') return { name, pid, access: 'open' };
    return { name, pid, access: error.code === 'no-answer' ? 'silent' : 'denied' };
  }
}
