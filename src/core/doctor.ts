/**
 * What `supervise doctor` says: one finding for each thing that was looked at. Here is what the host itself has and lacks;
 * doctor-place.ts has what a certain master finds on it.
 *
 * Levels: ok; note (it works, less well, or in another way, and the advice says how to have the better one); problem (a start fails, or
 * something is lost, unless it is mended: exit code 1).
 */
import { formatBytes } from './units.ts';

export const findingLevels = ['ok', 'note', 'problem'] as const;
export type FindingLevel = (typeof findingLevels)[number];

/** What is looked at, in this order. `port` and `stale` may come more than once, or not at all. */
export const doctorChecks = [
  'node',
  'kernel',
  'systemd',
  'cgroups',
  'cpus',
  'memory',
  'koffi',
  'steering',
  'moving',
  'programs',
  'open-files',
  'processes',
  'proc',
  'pss',
  'backlog',
  'config',
  'port',
  'masters',
  'stale',
  'disk',
] as const;
export type DoctorCheck = (typeof doctorChecks)[number];

export interface Finding {
  readonly check: DoctorCheck;
  readonly level: FindingLevel;
  /** What was found. */
  readonly message: string;
  /** What to do; null: nothing. */
  readonly advice: string | null;
}

/** The answer of `doctor --json`. */
export interface Diagnosis {
  /** No finding is a problem. */
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

/** What the host says of itself. */
export interface HostFacts {
  /** `20.20.2` */
  readonly nodeVersion: string;
  /** `linux`, `darwin` */
  readonly platform: string;
  /** `6.1.0-18-amd64` */
  readonly kernel: string;
  readonly systemd: SystemdFacts;
  /** Which hierarchies of cgroups are mounted. */
  readonly cgroups: 'v1' | 'v2' | 'hybrid' | 'none';
  readonly cpus: number;
  readonly cpuSource: string;
  readonly memoryBytes: number;
  readonly memorySource: string;
  readonly koffi: 'loaded' | 'missing';
  /** As it was tried: why connections cannot be steered; else why what waits for a worker that dies cannot be moved. null: it can. */
  readonly steering: { readonly refused: string | null; readonly staying: string | null };
  /** Programs that are used where they are there, and are not. */
  readonly missingPrograms: readonly string[];
  /** Limits of this process, which workers inherit; null: none, or not known. */
  readonly openFiles: number | null;
  readonly processes: { readonly limit: number; readonly setBy: string } | null;
  readonly proc: 'open' | 'hidden' | 'none';
  /** Whether the memory of a process can be told apart from what it shares. */
  readonly pss: 'readable' | 'closed';
  /** net.core.somaxconn */
  readonly backlog: number | null;
}

export interface SystemdFacts {
  /** `252`; null: it is not installed. */
  readonly version: number | null;
  /** Whether it is PID 1. */
  readonly isInit: boolean;
  /** The unit that this process runs in; null: in none. */
  readonly unit: string | null;
}

/** What a config needs of the host. */
export interface Needs {
  /** Workers and spares of all apps. */
  readonly workers: number;
  /** Whether a program is to run as another user. */
  readonly users: 'some' | 'none';
}

/** Of the master: what it has open by itself, and for each worker (pipes, its listener, files of /proc). */
const ownFiles = 64;
const filesPerWorker = 8;
/** A Node process has 11 threads, and each counts as a process. */
const tasksPerWorker = 12;
/** As listening.ts asks for. */
const wantedBacklog = 2048;

/** @param needs null: there is no config to be read */
export function judgeHost(facts: HostFacts, needs: Needs | null): readonly Finding[] {
  const linux = facts.platform === 'linux';
  return [
    judgeNode(facts),
    linux
      ? ok('kernel', `Linux ${facts.kernel}`)
      : note(
          'kernel',
          `${facts.platform} ${facts.kernel}`,
          'Linux is what supervise is made for: elsewhere it sees less',
        ),
    ...(linux ? [judgeSystemd(facts.systemd), judgeCgroups(facts)] : []),
    judgeCpus(facts),
    ok('memory', `${formatBytes(facts.memoryBytes)} may be used: ${facts.memorySource}`),
    ...judgeNative(facts),
    judgePrograms(facts, needs),
    judgeOpenFiles(facts.openFiles, needs),
    judgeProcesses(facts.processes, needs),
    judgeProc(facts.proc),
    facts.pss === 'readable'
      ? ok('pss', 'memory is told apart by process: shared pages are counted once (PSS)')
      : note('pss', 'PSS cannot be read: memory is RSS, in which each process counts what it shares', null),
    ...(facts.backlog === null ? [] : [judgeBacklog(facts.backlog)]),
  ];
}

function judgeNode({ nodeVersion }: HostFacts): Finding {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return ok('node', `Node ${nodeVersion}`);
  return problem('node', `expected Node 20.19 or newer, found ${nodeVersion}`, 'install a newer Node');
}

function judgeSystemd({ version, isInit, unit }: SystemdFacts): Finding {
  if (version === null)
    return note(
      'systemd',
      'not installed',
      'whatever starts supervise here has to start it again after a crash of the host',
    );
  const where = isInit
    ? unit === null
      ? 'this command runs in no unit'
      : `this command runs in ${unit}`
    : 'not the init here';
  const message = `systemd ${version}, ${where}`;
  if (!isInit || version >= 253) return ok('systemd', message);
  return note(
    'systemd',
    message,
    'before 253 there is no Type=notify-reload: use Type=notify and ExecReload=supervise reload',
  );
}

function judgeCgroups({ cgroups }: HostFacts): Finding {
  if (cgroups === 'none')
    return note(
      'cgroups',
      'none can be seen: their limits are unknown here',
      'mount /sys/fs/cgroup, or set "workers" to a number',
    );
  return ok('cgroups', cgroups === 'hybrid' ? 'v1 and v2 (hybrid)' : cgroups);
}

function judgeCpus({ cpus, cpuSource }: HostFacts): Finding {
  const message = `${cpus} may be used: ${cpuSource}`;
  if (cpus >= 1) return ok('cpus', message);
  return note(
    'cpus',
    message,
    'below one CPU even a single worker is throttled at times: give it a whole one if it is slow',
  );
}

function judgeNative({ koffi, steering, platform }: HostFacts): Finding[] {
  const native =
    koffi === 'loaded'
      ? ok('koffi', 'loaded')
      : note(
          'koffi',
          'cannot be loaded',
          'npm install koffi: without it connections are not steered, and starts are slower',
        );
  if (platform !== 'linux') return [native];
  const why = 'workers share one listener (balance: shared): connections may pile up on one of them';
  if (steering.refused !== null)
    return [native, note('steering', `connections cannot be steered: ${steering.refused}`, why)];
  return [
    native,
    ok('steering', 'tried: the kernel sends connections to the worker that is chosen'),
    steering.staying === null
      ? ok('moving', 'tried: connections that wait for a worker that dies go to the others')
      : note(
          'moving',
          `connections that wait for a worker that dies wait for its successor: ${steering.staying}`,
          'run the master as root, or with AmbientCapabilities=CAP_BPF in its unit, and without SystemCallFilter=',
        ),
  ];
}

function judgePrograms({ missingPrograms }: HostFacts, needs: Needs | null): Finding {
  if (missingPrograms.length === 0) return ok('programs', 'setpriv, setsid and nice are there');
  const message = `not installed: ${missingPrograms.join(', ')}`;
  if (missingPrograms.includes('setpriv') && needs?.users === 'some')
    return problem(
      'programs',
      `${message}; the config has "user"`,
      'install util-linux: without setpriv a user has no supplementary groups',
    );
  return note(
    'programs',
    message,
    'install util-linux and coreutils: user, nice and sessions of script workers need them',
  );
}

function judgeOpenFiles(limit: number | null, needs: Needs | null): Finding {
  if (limit === null) return ok('open-files', 'no limit');
  const wanted = ownFiles + filesPerWorker * (needs?.workers ?? 0);
  const message = `${limit} for each process`;
  const advice = 'raise it: LimitNOFILE=65536 in the unit, ulimit -n in a shell, --ulimit nofile= of a container';
  if (limit < wanted)
    return problem('open-files', `${message}; the master needs ${wanted} for ${needed(needs)}`, advice);
  // A worker has one for each of its connections.
  return limit < 4096
    ? note('open-files', `${message}, which bounds the connections of a worker`, advice)
    : ok('open-files', message);
}

function judgeProcesses(limit: HostFacts['processes'], needs: Needs | null): Finding {
  if (limit === null) return ok('processes', 'no limit');
  const workers = needs?.workers ?? 0;
  const message = `${limit.limit} with their threads (${limit.setBy})`;
  const advice = 'raise it: TasksMax= or LimitNPROC= in the unit, ulimit -u in a shell, --pids-limit of a container';
  if (limit.limit < workers + 2) return problem('processes', `${message}, too few for ${needed(needs)}`, advice);
  const wanted = tasksPerWorker * (workers + 1);
  return limit.limit < wanted
    ? note('processes', `${message}; with 11 threads each, as Node has, ${needed(needs)} take ${wanted}`, advice)
    : ok('processes', message);
}

function judgeProc(proc: HostFacts['proc']): Finding {
  if (proc === 'open') return ok('proc', '/proc shows all processes');
  if (proc === 'none')
    return note(
      'proc',
      'there is no /proc',
      'workers are sampled by ps, readiness is seen by probes: set "ready" to http or tcp',
    );
  const advice =
    'run supervise as root, or mount /proc with gid= of a group that it is in: else who holds a port stays unknown';
  return note('proc', '/proc hides the processes of other users (hidepid)', advice);
}

function judgeBacklog(backlog: number): Finding {
  const message = `up to ${backlog} connections may wait at a listener (net.core.somaxconn)`;
  if (backlog >= wantedBacklog) return ok('backlog', message);
  return note(
    'backlog',
    message,
    `sysctl -w net.core.somaxconn=${2 * wantedBacklog}: a burst during a reload would be refused sooner`,
  );
}

function needed(needs: Needs | null): string {
  const workers = needs?.workers ?? 0;
  return `${workers} ${workers === 1 ? 'worker' : 'workers'}`;
}

export function ok(check: DoctorCheck, message: string): Finding {
  return { check, level: 'ok', message, advice: null };
}

export function note(check: DoctorCheck, message: string, advice: string | null): Finding {
  return { check, level: 'note', message, advice };
}

export function problem(check: DoctorCheck, message: string, advice: string): Finding {
  return { check, level: 'problem', message, advice };
}

export function diagnosis(findings: readonly Finding[]): Diagnosis {
  const order = (one: Finding) => doctorChecks.indexOf(one.check);
  return {
    ok: findings.every(({ level }) => level !== 'problem'),
    findings: findings.toSorted((one, other) => order(one) - order(other)),
  };
}
