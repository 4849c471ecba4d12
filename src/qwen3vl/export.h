/* SPDX-License-Identifier: Apache-2.0 */
/* The export mark of the public interface: everything else stays hidden in a shared library. C90, as
 * qwen3vl_c.h is. */
#ifndef QWEN3VL_EXPORT_H_
#define QWEN3VL_EXPORT_H_

#define QWEN3VL_API __attribute__((visibility("default")))

#endif /* QWEN3VL_EXPORT_H_ */
