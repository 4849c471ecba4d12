# SPDX-License-Identifier: Apache-2.0
# Debian's cpuinfo package ships a CMake config that names a file it does not install, so look for the parts.
find_path(cpuinfo_INCLUDE_DIR cpuinfo.h)
find_library(cpuinfo_LIBRARY cpuinfo)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(cpuinfo REQUIRED_VARS cpuinfo_LIBRARY cpuinfo_INCLUDE_DIR)
if(cpuinfo_FOUND AND NOT TARGET cpuinfo::cpuinfo)
  add_library(cpuinfo::cpuinfo UNKNOWN IMPORTED)
  set_target_properties(cpuinfo::cpuinfo PROPERTIES
    IMPORTED_LOCATION ${cpuinfo_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${cpuinfo_INCLUDE_DIR})
endif()
