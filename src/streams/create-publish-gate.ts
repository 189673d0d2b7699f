import { KeyAdmission, type KeyAdmissionParts } from "./claims/key-admission.ts";
import type { PublishGate } from "./publish-gate.ts";
import { createSessionReports, type SessionReportsParts } from "./session-reports.ts";
import { StatsWriter } from "./sessions/stats-writer.ts";

export type PublishGateParts = KeyAdmissionParts & Omit<SessionReportsParts, "stats">;

export interface PublishGateOptions {
  leaseSeconds: number;
  /** The lease of sessions whose media server reports nothing between start and end. */
  silentLeaseSeconds: number;
}

/** Builds the gate from the admission of keys and the reports of sessions. */
export function createPublishGate(
  parts: PublishGateParts,
  { leaseSeconds, silentLeaseSeconds }: PublishGateOptions,
): PublishGate & { stop(): Promise<void> } {
  const { nginx, outage, logger } = parts;
  const stats = new StatsWriter({ logger });
  const admission = new KeyAdmission(parts);
  const socketTerms = { starts: false, leaseSeconds, mayOust: "any" } as const;
  return {
    ...createSessionReports({ ...parts, stats }, { leaseSeconds }),

    validate: (server, request) => admission.admit(server, request, socketTerms),

    async publish(server, request, { reports }) {
      const verdict = await admission.admit(server, request, {
        starts: true,
        leaseSeconds: reports ? leaseSeconds : silentLeaseSeconds,
        mayOust: nginx.canDrop(server.name) ? "any" : "other servers",
      });
      if (verdict.valid) {
        nginx.remember(server.name, request.connectionId, { app: request.app ?? "", name: request.streamKey });
      }
      return verdict;
    },

    async stop() {
      stats.stop();
      await outage.stop();
    },
  };
}
