// What the code and the objects of a model file would call, read without loading anything of the file. TorchScript is
// native code: some operators read and write any memory, files and addresses of their process.
#pragma once

#include <string>
#include <vector>

#include "mtt/model/archive.hpp"

namespace mtt {

/// Something in the file that is not on the list of what models may use.
struct Foreign {
    /// "aten::hash", "print", "__torch__.torch.classes.ns.Name", or "archive" and "pickle" for what is no operator.
    std::string name;
    std::string record;
    /// 0 where lines mean nothing.
    int line = 0;
    std::string why;
};

/// Everything that is not on the list; empty if the file may be loaded.
/// @param allowed names that the caller vouches for; what is wrong with the archive or its objects stays
/// @param extensions a folder of extensions was named: operators and classes of libraries that this process does not
///     have yet are theirs
std::vector<Foreign> foreign_operators(
    const Archive& archive, const std::vector<std::string>& allowed, bool extensions = false
);

/// One of them in words, with record and line.
std::string describe(const Foreign& foreign);

// ---- parts of the above, in files of their own
/// Folders, names, sizes and places of the records.
std::vector<Foreign> foreign_layout(const Archive& archive);
/// Names of libraries that would be looked for outside of the folder that the caller names.
std::vector<Foreign> foreign_extensions(const Archive& archive);

/// Lists, curated by hand: see operator_list.cpp.
bool is_pure_operator(const std::string& qualified);
bool is_pure_method(const std::string& name);
bool is_known_class(const std::string& qualified);
bool is_free_name(const std::string& name);

}  // namespace mtt
