/* cmd-build/sbom.h: what is in an image, as a scanner (a command of an image of its own) finds it: options, scans, documents. */
#pragma once
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/strv.h"

struct build;
struct hoy_err;

struct sbom_opts {
	const char *preset, *image, *strategy, *output, *image_output, *purl_output, *image_purl_output;
	struct hoy_strv commands;
};
/* The options of struct sbom_opts at AT (an offset). */
#define SBOM_OPT(at, kind, name, field, arg, help) { 0, name, kind, (at) + offsetof(struct sbom_opts, field), arg, help }
#define SBOM_OPTS(at) \
	SBOM_OPT(at, HOY_OPT_STRING, "sbom", preset, "PRESET", "what finds out what is in the image: syft, syft-cyclonedx, syft-spdx, trivy, trivy-cyclonedx or trivy-spdx"), \
	SBOM_OPT(at, HOY_OPT_STRING, "sbom-image-output", image_output, "PATH", "write what was found into the image"), \
	SBOM_OPT(at, HOY_OPT_STRING, "sbom-image-purl-output", image_purl_output, "PATH", "write the package URLs into the image"), \
	SBOM_OPT(at, HOY_OPT_STRING, "sbom-merge-strategy", strategy, "STRATEGY", "cat, merge-cyclonedx-by-component-name-and-version or merge-spdx-by-package-name-and-versioninfo"), \
	SBOM_OPT(at, HOY_OPT_STRING, "sbom-output", output, "FILE", "write what was found to a file"), \
	SBOM_OPT(at, HOY_OPT_STRING, "sbom-purl-output", purl_output, "FILE", "write the package URLs to a file"), \
	SBOM_OPT(at, HOY_OPT_LIST, "sbom-scanner-command", commands, "COMMAND", "scan with this command of the scanner's image: {ROOTFS} or {CONTEXT} is what, {OUTPUT} where to"), \
	SBOM_OPT(at, HOY_OPT_STRING, "sbom-scanner-image", image, "IMAGE", "image of the scanner")

/* Was any of them given? */
bool sbom_wanted(const struct sbom_opts *o);
/* Put in what a preset says, and check that it makes sense. */
int sbom_check(struct sbom_opts *o, struct hoy_err *err);
/*
 * Scan ROOT, where the image's files are, and the directories CONTEXTS (NULL: none); FROM are options of `from` for the scanner's
 * image, whose container goes again. The files that are asked for are written; what is for the image is added to FILES for
 * extra_layer(), and lasts as long as b->tmp. An error has its sentence in b->err; b->status is that of a scanner that failed.
 */
int sbom_scan(struct build *b, const struct sbom_opts *o, const struct hoy_strv *from, const char *root, const struct hoy_strv *contexts,
	      struct hoy_strv *files);
/* The same for what a build has made, as its options say: its target's image is another one then, where the image is to have it. */
int sbom_of_build(struct build *b);

/* Merge the documents in the files RESULTS of the directory DIR, which somebody else wrote, as STRATEGY says: into DOC, and their package URLs into PURLS. */
int sbom_merge(const char *strategy, int dir, const struct hoy_strv *results, struct hoy_buf *doc, struct hoy_buf *purls, struct hoy_err *err);
