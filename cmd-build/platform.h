/* cmd-build/platform.h: what an image is for: operating system, architecture, variant, in their normal spelling. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct hoy_err;
struct hoy_json;
struct hoy_strv;

struct platform {
	char os[32], arch[32], variant[16]; /* variant "": none, or the usual one */
};
#define PLATFORM_SIZE 88

/* This machine's. */
void platform_here(struct platform *ret);
/* TEXT is "OS/ARCH[/VARIANT]", "ARCH", "OS" or "local", in any case and spelling; -EINVAL with buildah's sentence. */
int platform_parse(struct platform *ret, const char *text, struct hoy_err *err);
/* Parts that are given (NULL: as here), in their normal spelling. */
int platform_of(struct platform *ret, const char *os, const char *arch, const char *variant, struct hoy_err *err);
/* "os/arch[/variant]" */
const char *platform_text(const struct platform *p, char buf[PLATFORM_SIZE]);
bool platform_same(const struct platform *a, const struct platform *b);
/* Do programs for P run here, as far as can be seen: natively, or because the kernel knows an emulator for them? */
bool platform_runs(const struct platform *p);
/* Is the config (or the platform of a list's entry) O for P? What it doesn't say fits. */
bool platform_fits(const struct platform *p, const struct hoy_json *o);
/* TARGETPLATFORM, BUILDARCH, and their like: KEY=value, for an image for P. */
void platform_vars(struct hoy_strv *vars, const struct platform *p);
