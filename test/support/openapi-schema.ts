// Generated from /openapi.json by test/server/http/openapi.test.ts with LINNET_UPDATE=1: do not edit.
export interface paths {
  '/healthz': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** The server is up */
    get: operations['getHealth'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/openapi.json': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** This document */
    get: operations['getOpenApi'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/console': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** The operator console (a web page) */
    get: operations['getConsole'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/repo/image/metadata/{name}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Signed metadata of the image repository */
    get: operations['getImageMetadata'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/repo/image/targets/{component}/{version}/{file}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** A signed release envelope; its digest is part of its name */
    get: operations['getImageTarget'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/repo/image/files/{sha256}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** A file of a release by its digest; takes Range and If-None-Match */
    get: operations['getImageFile'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/device/v1/enrol': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Enrol a device key, with a claim or to wait for approval */
    post: operations['enrolDevice'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/device/v1/director/{name}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Signed director metadata of the device that asks
     * @description Which releases the device should run. The director does not delegate, and the image targets of a release are read from the top-level role only: delegations are not read.
     */
    get: operations['getDirectorMetadata'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/devices': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Devices, by group and name
     * @description Needs the role viewer.
     */
    get: operations['listDevices'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/devices/{id}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * One device with what it reported
     * @description Needs the role viewer.
     */
    get: operations['getDevice'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    /**
     * Change a device's group or labels
     * @description Needs the role operator.
     */
    patch: operations['changeDevice'];
    trace?: never;
  };
  '/api/v1/devices/{id}/approve': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Enrol a pending device
     * @description Needs the role operator.
     */
    post: operations['approveDevice'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/devices/{id}/revoke': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Revoke a device for good and close its connection
     * @description Needs the role operator.
     */
    post: operations['revokeDevice'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/groups': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Groups by name, with the number of their enrolled devices
     * @description Needs the role viewer.
     */
    get: operations['listGroups'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/claims': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * A claim token that enrols devices without approval; it is shown once
     * @description Needs the role operator.
     */
    post: operations['createClaim'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/files/{sha256}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    /**
     * Upload a file of a release, by its digest
     * @description Needs the role publisher.
     */
    put: operations['putFile'];
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/releases': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Releases, the newest first, without their manifests
     * @description Needs the role viewer.
     */
    get: operations['listReleases'];
    put?: never;
    /**
     * Publish a signed release
     * @description Needs the role publisher.
     */
    post: operations['publishRelease'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/releases/{component}/{version}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * One release with its manifest
     * @description Needs the role viewer.
     */
    get: operations['getRelease'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/repository': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The image repository's current root and targets, which `linnet publish` extends
     * @description Needs the role viewer.
     */
    get: operations['getRepository'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/rollouts': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Rollouts, the newest first, without members and history
     * @description Needs the role viewer.
     */
    get: operations['listRollouts'];
    put?: never;
    /**
     * Draft a rollout
     * @description Needs the role operator.
     */
    post: operations['createRollout'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/rollouts/{id}/{command}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Start, pause, resume, approve, abort or drop a rollout
     * @description Needs the role operator.
     */
    post: operations['commandRollout'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/rollouts/{id}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * One rollout with its devices, its history and the reasons for its state
     * @description Needs the role viewer.
     */
    get: operations['getRollout'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/audit': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The audit log, the newest first
     * @description Needs the role operator.
     */
    get: operations['listAudit'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/audit/head': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Verify the whole audit chain
     * @description Needs the role operator.
     */
    get: operations['verifyAudit'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/audit/{seq}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * One audit entry with its whole detail
     * @description Needs the role operator.
     */
    get: operations['getAuditEntry'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/security-events': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Security events, the newest first
     * @description Needs the role viewer.
     */
    get: operations['listSecurityEvents'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/security-events/{id}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * One security event with its whole detail
     * @description Needs the role viewer.
     */
    get: operations['getSecurityEvent'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/telemetry': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Recent raw telemetry of a device, the newest first
     * @description Needs the role viewer.
     */
    get: operations['listTelemetry'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/tokens': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Operator tokens by name, the oldest first; never the tokens themselves
     * @description Needs the role admin.
     */
    get: operations['listTokens'];
    put?: never;
    /**
     * A new operator token; it is shown once
     * @description Needs the role admin.
     */
    post: operations['createToken'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/tokens/{name}/revoke': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Revoke every token of that name
     * @description Needs the role admin.
     */
    post: operations['revokeTokens'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
}
export type webhooks = Record<string, never>;
export interface components {
  schemas: {
    /** Health */
    Health: {
      /** @enum {string} */
      status: 'ok';
    };
    /** ApiError */
    ApiError: {
      error: string;
      code: string;
      todo: string;
    };
    /** EnrolRequest */
    EnrolRequest: {
      publicKey: {
        /** @enum {string} */
        keytype: 'ed25519';
        /** @enum {string} */
        scheme: 'ed25519';
        keyval: {
          public: string;
        };
      };
      name: string;
      hardware: string;
      components: string[];
      claim?: string;
      signature: string;
    };
    /** EnrolAnswer */
    EnrolAnswer: {
      device: string;
      /** @enum {unknown} */
      status: 'pending' | 'enrolled' | 'revoked';
      mqttPort: number;
    };
    /**
     * DeviceStatus
     * @enum {unknown}
     */
    DeviceStatus: 'pending' | 'enrolled' | 'revoked';
    /** UpdateSummary */
    UpdateSummary: {
      component: string;
      /** @enum {unknown} */
      state:
        | 'idle'
        | 'assigned'
        | 'downloaded'
        | 'verified'
        | 'staged'
        | 'probed'
        | 'swapped'
        | 'stranded';
      running: null | {
        component: string;
        version: string;
        digest: string;
      };
      updatingTo: null | {
        component: string;
        version: string;
        digest: string;
      };
    };
    /** DeviceSummary */
    DeviceSummary: {
      id: string;
      name: string;
      hardware: string;
      status: components['schemas']['DeviceStatus'];
      group: string;
      lastSeenAt: null | string;
      silent: boolean;
      updates: components['schemas']['UpdateSummary'][];
    };
    /** DevicePage */
    DevicePage: {
      items: components['schemas']['DeviceSummary'][];
      next: null | string;
    };
    /** Device */
    Device: {
      id: string;
      name: string;
      hardware: string;
      status: components['schemas']['DeviceStatus'];
      group: string;
      lastSeenAt: null | string;
      silent: boolean;
      components: string[];
      labels: {
        [key: string]: string;
      };
      enrolledAt: null | string;
      updates: {
        component: string;
        /** @enum {unknown} */
        state:
          | 'idle'
          | 'assigned'
          | 'downloaded'
          | 'verified'
          | 'staged'
          | 'probed'
          | 'swapped'
          | 'stranded';
        running: null | {
          component: string;
          version: string;
          digest: string;
        };
        previous: null | {
          component: string;
          version: string;
          digest: string;
        };
        updatingTo: null | {
          component: string;
          version: string;
          digest: string;
        };
        assignmentId: number;
        progress: null | {
          doneBytes: number;
          totalBytes: number;
        };
        outcome: null | {
          /** @enum {unknown} */
          result: 'confirmed' | 'rolled_back' | 'differs' | 'refused' | 'spent' | 'reverted';
          code: null | string;
          detail: string;
          release: {
            component: string;
            version: string;
            digest: string;
          };
          assignmentId: number;
        };
      }[];
      health: null | {
        cpuUse: null | number;
        memoryTotalBytes: number;
        memoryAvailableBytes: number;
        temperatureC: null | number;
        diskTotalBytes: null | number;
        diskFreeBytes: null | number;
        agentRssBytes: number;
        uptimeSeconds: number;
        spool: {
          records: number;
          bytes: number;
          lost: number;
        };
      };
    };
    /** InferenceSummary */
    InferenceSummary: {
      release: {
        component: string;
        version: string;
        digest: string;
      };
      served: number;
      failed: number;
      refused: number;
      p50Ms: null | number;
      p99Ms: null | number;
      classes: null | number[];
      meanConfidence: null | number;
    };
    /** SecurityEventSummary */
    SecurityEventSummary: {
      id: number;
      /** @enum {unknown} */
      sourceKind: 'device' | 'operator' | 'server' | 'anonymous';
      source: string;
      code: string;
      count: number;
      firstAt: string;
      lastAt: string;
      detail: string;
    };
    /** TimedOutcome */
    TimedOutcome: {
      at: string;
      outcome: {
        /** @enum {unknown} */
        result: 'confirmed' | 'rolled_back' | 'differs' | 'refused' | 'spent' | 'reverted';
        code: null | string;
        detail: string;
        release: {
          component: string;
          version: string;
          digest: string;
        };
        assignmentId: number;
      };
    };
    /** DeviceDetail */
    DeviceDetail: {
      device: components['schemas']['Device'];
      inference: components['schemas']['InferenceSummary'][];
      security: components['schemas']['SecurityEventSummary'][];
      outcomes: components['schemas']['TimedOutcome'][];
    };
    /** DevicePatch */
    DevicePatch: {
      group?: string;
      labels?: {
        [key: string]: string;
      };
    };
    /** EmptyBody */
    EmptyBody: Record<string, never>;
    /** Group */
    Group: {
      name: string;
      devices: number;
    };
    /** GroupPage */
    GroupPage: {
      items: components['schemas']['Group'][];
      next: null | string;
    };
    /** ClaimRequest */
    ClaimRequest: {
      group: string;
      uses: number;
      minutes: number;
    };
    /** Claim */
    Claim: {
      claim: string;
      group: string;
      uses: number;
      expiresAt: string;
    };
    /** StoredFile */
    StoredFile: {
      sha256: string;
    };
    /** PublishRequest */
    PublishRequest: {
      envelope: string;
      targets: string;
    };
    /** ReleaseDetail */
    ReleaseDetail: {
      component: string;
      version: string;
      digest: string;
      publishedAt: string;
      bytes: number;
      description: string;
      manifest: {
        /** @enum {string} */
        format: 'linnet.release/1';
        /** @enum {string} */
        kind: 'model';
        component: string;
        version: string;
        description: string;
        hardware: string[];
        files: {
          name: string;
          /** @enum {unknown} */
          role: 'model' | 'probes' | 'labels' | 'other';
          sha256: string;
          length: number;
          encodings?: {
            codec: string;
            sha256: string;
            length: number;
          }[];
        }[];
        inputs: {
          name: string;
          /** @enum {unknown} */
          datatype:
            'BOOL' | 'UINT8' | 'INT8' | 'UINT16' | 'INT16' | 'INT32' | 'INT64' | 'FP32' | 'FP64';
          shape: number[];
          range?: {
            min: number;
            max: number;
          };
        }[];
        outputs: {
          name: string;
          /** @enum {unknown} */
          datatype:
            'BOOL' | 'UINT8' | 'INT8' | 'UINT16' | 'INT16' | 'INT32' | 'INT64' | 'FP32' | 'FP64';
          shape: number[];
          range?: {
            min: number;
            max: number;
          };
        }[];
        classifier: null | {
          output: string;
          /** @enum {unknown} */
          scale: 'logits' | 'probabilities';
          labels: string[];
        };
        comparisons?: {
          output: string;
          /** @enum {unknown} */
          kind: 'class' | 'scores' | 'vector' | 'value' | 'boxes' | 'sequence' | 'none';
          scale?: number;
          leastScore?: number;
        }[];
        expectedDifferences?: {
          base: string;
          outputs: {
            output: string;
            sum: number;
            count: number;
          }[];
        }[];
        probes: {
          count: number;
          tolerance: {
            absolute: number;
            relative: number;
          };
        };
        contract: {
          peakMemoryMiB: number;
          p99LatencyMs: number;
        };
        lineage: {
          trainingDataSha256: string;
          sourceCommit: string;
          baseModel: null | {
            name: string;
            sha256: string;
          };
          quantization: null | {
            [key: string]: unknown;
          };
        };
      };
    };
    /** ReleaseSummary */
    ReleaseSummary: {
      component: string;
      version: string;
      digest: string;
      publishedAt: string;
      bytes: number;
      description: string;
    };
    /** ReleasePage */
    ReleasePage: {
      items: components['schemas']['ReleaseSummary'][];
      next: null | string;
    };
    /** RepositoryView */
    RepositoryView: {
      root: string;
      targets: string;
      snapshotVersion: number;
      files: number;
    };
    /** Wave */
    Wave: {
      name: string;
      group?: string;
      percent?: number;
      soakSeconds: number;
      approval: boolean;
    };
    /** RolloutPolicy */
    RolloutPolicy: {
      waves: components['schemas']['Wave'][];
      trial: {
        minSeconds: number;
        maxSeconds: number;
        minPairs: number;
        differenceLimitPermille: number;
        differenceCapPermille: number;
        falseAlarmPermille: number;
        falsePassPermille: number;
        errorLimitPermille: number;
        slowdownLimitPermille: number;
        classShiftLimitPermille: number;
        confidenceDropLimitPermille: number;
      };
      acceptableFailurePermille: number;
      alarmingFailurePermille: number;
      falseAlarmPermille: number;
      silentAfterSeconds: number;
      deviceDeadlineSeconds: number;
      autoRevert: boolean;
    };
    /** RolloutRequest */
    RolloutRequest: {
      component: string;
      version: string;
      policy: components['schemas']['RolloutPolicy'];
      groups?: string[];
    };
    /** Member */
    Member: {
      device: string;
      name: string;
      group: string;
      wave: number;
      /** @enum {unknown} */
      state:
        | 'waiting'
        | 'assigned'
        | 'trial'
        | 'confirmed'
        | 'failed'
        | 'reverting'
        | 'reverted'
        | 'lost';
      since: string;
      reasons: string;
    };
    /** RolloutHistoryEntry */
    RolloutHistoryEntry: {
      at: string;
      /** @enum {unknown} */
      state: 'draft' | 'rolling' | 'held' | 'reverting' | 'reverted' | 'completed' | 'dropped';
      wave: number;
      reasons: string[];
    };
    /** RolloutDetail */
    RolloutDetail: {
      id: string;
      release: {
        component: string;
        version: string;
        digest: string;
      };
      /** @enum {unknown} */
      state: 'draft' | 'rolling' | 'held' | 'reverting' | 'reverted' | 'completed' | 'dropped';
      wave: number;
      createdAt: string;
      createdBy: string;
      reasons: string[];
      next: string[];
      policy: components['schemas']['RolloutPolicy'];
      members: components['schemas']['Member'][];
      history: components['schemas']['RolloutHistoryEntry'][];
    };
    /** RolloutSummary */
    RolloutSummary: {
      id: string;
      release: {
        component: string;
        version: string;
        digest: string;
      };
      /** @enum {unknown} */
      state: 'draft' | 'rolling' | 'held' | 'reverting' | 'reverted' | 'completed' | 'dropped';
      wave: number;
      createdAt: string;
      createdBy: string;
      waves: number;
      devices: number;
      reasons: string[];
    };
    /** RolloutPage */
    RolloutPage: {
      items: components['schemas']['RolloutSummary'][];
      next: null | string;
    };
    /** CommandRequest */
    CommandRequest: {
      reason?: string;
    };
    /** AuditSummary */
    AuditSummary: {
      seq: number;
      at: string;
      actor: string;
      action: string;
      subject: string;
      detail: string;
    };
    /** AuditPage */
    AuditPage: {
      items: components['schemas']['AuditSummary'][];
      next: null | string;
    };
    /** AuditHead */
    AuditHead: {
      entries: number;
      hash: string;
      brokenAt: null | number;
    };
    /** AuditDetail */
    AuditDetail: {
      seq: number;
      at: string;
      actor: string;
      action: string;
      subject: string;
      detail: string;
      hash: string;
    };
    /** SecurityEventPage */
    SecurityEventPage: {
      items: components['schemas']['SecurityEventSummary'][];
      next: null | string;
    };
    /** SecurityEventDetail */
    SecurityEventDetail: {
      id: number;
      /** @enum {unknown} */
      sourceKind: 'device' | 'operator' | 'server' | 'anonymous';
      source: string;
      code: string;
      count: number;
      firstAt: string;
      lastAt: string;
      detail: string;
    };
    /** TelemetryRow */
    TelemetryRow: {
      id: number;
      device: string;
      seq: number;
      kind: string;
      deviceAt: string;
      at: string;
      body: unknown;
    };
    /** TelemetryPage */
    TelemetryPage: {
      items: components['schemas']['TelemetryRow'][];
      next: null | string;
    };
    /**
     * Role
     * @enum {unknown}
     */
    Role: 'viewer' | 'publisher' | 'operator' | 'admin';
    /** TokenView */
    TokenView: {
      name: string;
      role: components['schemas']['Role'];
      createdAt: string;
      revokedAt: null | string;
    };
    /** TokenPage */
    TokenPage: {
      items: components['schemas']['TokenView'][];
      next: null | string;
    };
    /** TokenRequest */
    TokenRequest: {
      name: string;
      role: components['schemas']['Role'];
    };
    /** NewToken */
    NewToken: {
      name: string;
      role: components['schemas']['Role'];
      token: string;
    };
    /** RevokedTokens */
    RevokedTokens: {
      revoked: number;
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
  getHealth: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Health'];
        };
      };
    };
  };
  getOpenApi: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': unknown;
        };
      };
    };
  };
  getConsole: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': unknown;
        };
      };
    };
  };
  getImageMetadata: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The signed bytes */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': unknown;
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  getImageTarget: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        component: string;
        version: string;
        file: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The signed bytes */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': unknown;
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  getImageFile: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        sha256: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The whole file */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/octet-stream': unknown;
        };
      };
      /** @description The range of bytes that was asked for */
      206: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/octet-stream': unknown;
        };
      };
      /** @description The client has the file */
      304: {
        headers: {
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  enrolDevice: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['EnrolRequest'];
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['EnrolAnswer'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  getDirectorMetadata: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The signed bytes */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': unknown;
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  listDevices: {
    parameters: {
      query?: {
        /** @description how many at most */
        limit?: number;
        /** @description `next` of the previous page */
        cursor?: string;
        group?: string;
        status?: components['schemas']['DeviceStatus'];
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DevicePage'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  getDevice: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @description device id or name */
        id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['DeviceDetail'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  changeDevice: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @description device id or name */
        id: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['DevicePatch'];
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Device'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  approveDevice: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @description device id or name */
        id: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['EmptyBody'];
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Device'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  revokeDevice: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @description device id or name */
        id: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['EmptyBody'];
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Device'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  listGroups: {
    parameters: {
      query?: {
        /** @description how many at most */
        limit?: number;
        /** @description `next` of the previous page */
        cursor?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['GroupPage'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  createClaim: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['ClaimRequest'];
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Claim'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  putFile: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        sha256: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/octet-stream': unknown;
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['StoredFile'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  listReleases: {
    parameters: {
      query?: {
        /** @description how many at most */
        limit?: number;
        /** @description `next` of the previous page */
        cursor?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ReleasePage'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  publishRelease: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['PublishRequest'];
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ReleaseDetail'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  getRelease: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        component: string;
        version: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ReleaseDetail'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  getRepository: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RepositoryView'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  listRollouts: {
    parameters: {
      query?: {
        /** @description how many at most */
        limit?: number;
        /** @description `next` of the previous page */
        cursor?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RolloutPage'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  createRollout: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['RolloutRequest'];
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RolloutDetail'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  commandRollout: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: string;
        command: 'start' | 'pause' | 'resume' | 'approve' | 'abort' | 'drop';
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['CommandRequest'];
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RolloutDetail'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  getRollout: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RolloutDetail'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  listAudit: {
    parameters: {
      query?: {
        /** @description how many at most */
        limit?: number;
        /** @description `next` of the previous page */
        cursor?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['AuditPage'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  verifyAudit: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['AuditHead'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  getAuditEntry: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        seq: number;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['AuditDetail'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  listSecurityEvents: {
    parameters: {
      query?: {
        /** @description how many at most */
        limit?: number;
        /** @description `next` of the previous page */
        cursor?: string;
        /** @description device id, name of an operator token, `server`, or remote address */
        source?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SecurityEventPage'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  getSecurityEvent: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        id: number;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SecurityEventDetail'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  listTelemetry: {
    parameters: {
      query: {
        /** @description how many at most */
        limit?: number;
        /** @description `next` of the previous page */
        cursor?: string;
        /** @description device id or name */
        device: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['TelemetryPage'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  listTokens: {
    parameters: {
      query?: {
        /** @description how many at most */
        limit?: number;
        /** @description `next` of the previous page */
        cursor?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['TokenPage'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  createToken: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['TokenRequest'];
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['NewToken'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
  revokeTokens: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        name: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': components['schemas']['EmptyBody'];
      };
    };
    responses: {
      /** @description Default Response */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RevokedTokens'];
        };
      };
      /** @description Default Response */
      '4XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
      /** @description Default Response */
      '5XX': {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ApiError'];
        };
      };
    };
  };
}
