// SPDX-License-Identifier: Apache-2.0
// The main function of every test program. Measurements that the user stored on this machine must not bend a
// test, so each program gets an empty cache folder.
#include <gtest/gtest.h>
#include <stdlib.h>

#include "support/temp_dir.h"

#if defined(__SANITIZE_ADDRESS__)
// As without the sanitizer, memory that can't be had is std::bad_alloc, not the end of the program. And the
// leak check is kept from looking at the thread-local data of libraries opened at run time: GCC 12's runtime
// gets their place wrong and dies of it.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "allocator_may_return_null=1:intercept_tls_get_addr=0";
}
#endif

#if defined(__SANITIZE_THREAD__)
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_options() {
  return "allocator_may_return_null=1";
}
#endif

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const qwen3vl::test::TempDir cache;
  setenv("XDG_CACHE_HOME", cache.path().c_str(), /*overwrite=*/1);
  return RUN_ALL_TESTS();
}
