/** What `doctor` asks of the real host, and how it reads the answers. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { cgroupsIn, hostFacts, softLimit, unitIn } from '../../src/system/doctor/host-facts.ts';
import { trySteering } from '../../src/system/doctor/steering-trial.ts';
import { loadNative, type Native } from '../../src/system/native.ts';
import { v1At, v2At } from '../helpers/host-tree.ts';

describe('the facts of a host', () => {
  test('the unit that a process runs in', () => {
    assert.equal(unitIn('4:cpu:/x\n0::/system.slice/shop.service\n'), 'shop.service');
    assert.equal(unitIn('0::/user.slice/user-1.slice/user@1.service/app.slice/web.service/child\n'), 'web.service');
    assert.equal(unitIn('1:name=systemd:/user.slice/session-3.scope\n'), 'session-3.scope');
    assert.equal(unitIn('1:name=systemd:/\n0::/system.slice/it.service\n'), 'it.service');
    assert.equal(unitIn('1:name=systemd:/system.slice/it.service\n0::/\n'), 'it.service');
    assert.equal(unitIn('0::/\n'), null);
    assert.equal(unitIn(''), null);
  });

  test('which cgroups are mounted', () => {
    assert.equal(cgroupsIn(''), 'none');
    assert.equal(cgroupsIn(v2At('/sys/fs/cgroup')), 'v2');
    assert.equal(cgroupsIn(v1At('cpu', '/cg')), 'v1');
    assert.equal(cgroupsIn(v1At('cpu', '/cg') + v2At('/cg/unified')), 'hybrid');
  });

  test('limits of the process', () => {
    const text =
      'Limit                     Soft Limit           Hard Limit           Units\nMax processes             96365                96365                processes\nMax open files            unlimited            unlimited            files\n';
    assert.deepEqual(
      [softLimit(text, 'Max processes'), softLimit(text, 'Max open files'), softLimit('', 'x')],
      [96365, null, null],
    );
  });

  test('this host answers to all of it', () => {
    const { nodeVersion, cpus, memoryBytes, proc, platform } = hostFacts();
    assert.deepEqual([nodeVersion, platform], [process.versions.node, process.platform]);
    assert.ok(cpus > 0 && memoryBytes > 0);
    assert.notEqual(proc, 'none');
  });
});

describe('the trial of steering', () => {
  const native = loadNative();
  const skip = process.platform === 'linux' && native !== null ? false : 'needs Linux and koffi';
  const openFds = () => readdirSync('/proc/self/fd').length;

  test('succeeds here, and leaves nothing open', { skip }, () => {
    const before = openFds();
    assert.equal(trySteering().refused, null);
    assert.equal(openFds(), before);
  });

  test('says what the kernel refuses, and leaves nothing open', { skip }, () => {
    const before = openFds();
    const refusing = (calls: Partial<Native['sockets']>): Native => ({
      ...native!,
      sockets: { ...native!.sockets, ...calls },
      bpf: { ...native!.bpf, whyNot: () => 'not tried' },
    });
    assert.deepEqual(trySteering(refusing({})), { refused: null, staying: 'not tried' });
    assert.match(trySteering(refusing({ shareAddress: () => 92 })).refused ?? '', /refuses SO_REUSEPORT: ENOPROTOOPT$/);
    assert.match(
      trySteering(refusing({ listenBeside: () => -98 })).refused ?? '',
      /refuses another listener: EADDRINUSE$/,
    );
    assert.match(
      trySteering(refusing({ chooseBy: () => 1 })).refused ?? '',
      /refuses SO_ATTACH_REUSEPORT_CBPF: EPERM$/,
    );
    assert.equal(openFds(), before);
  });

  test('without koffi', () => assert.match(trySteering(null).refused ?? '', /koffi cannot be loaded|only Linux/));
});
