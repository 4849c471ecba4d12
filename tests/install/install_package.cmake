# SPDX-License-Identifier: Apache-2.0
# Installs this build into a fresh prefix and builds examples/ against it as a stranger's project would.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
file(REMOVE_RECURSE ${WORK_DIR})
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${WORK_DIR}/prefix)
configure_and_build(${SOURCE_DIR}/examples -D CMAKE_PREFIX_PATH=${WORK_DIR}/prefix)
run_examples(${WORK_DIR}/build)
