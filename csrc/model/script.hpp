// The code of an archive as libtorch's own parser reads it; shared by the files that look for foreign operators.
#pragma once

#include <torch/csrc/jit/frontend/tree_views.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "mtt/model/operators.hpp"

namespace mtt {

/// A class that the code of an archive defines.
struct ScriptClass {
    /// Declared type of each attribute.
    std::map<std::string, torch::jit::TreeRef> attributes;
    std::set<std::string> methods;
    bool is_enum = false;
    /// A NamedTuple; fields in order.
    bool is_tuple = false;
    std::vector<torch::jit::TreeRef> fields;
    /// What other classes must have to be taken for one; libtorch calls these methods by name, unseen.
    bool is_interface = false;
    /// Types of arguments and result of each method.
    std::map<std::string, std::string> signatures;
};

struct ScriptFile {
    std::string record;
    /// "__torch__.mtt.data.graph"
    std::string module;
    std::vector<torch::jit::TreeRef> definitions;
};

struct Script {
    std::vector<ScriptFile> files;
    /// By qualified name.
    std::map<std::string, ScriptClass> classes;
    std::set<std::string> functions;
    /// All attributes and methods of the classes above.
    std::set<std::string> members;
};

/// What is allowed in one run, beside the lists.
struct Permits {
    std::set<std::string> allowed;
    bool extensions = false;

    [[nodiscard]] bool operator_permitted(const std::string& qualified) const;
    [[nodiscard]] bool class_permitted(const std::string& qualified) const;
};

/// Parses all code records. What can not be parsed, or nests deeper than the parser's stack holds, goes to `out`.
Script read_script(const Archive& archive, std::vector<Foreign>& out);
/// Names in the code that are not on the lists.
void find_names(const Script& script, const Permits& permits, std::vector<Foreign>& out);
/// What is wrong with the objects and tensors of the archive.
void find_objects(const Archive& archive, const Script& script, const Permits& permits, std::vector<Foreign>& out);

/// "a.b.c" of nested selections of names; empty if `tree` is anything else.
std::vector<std::string> dotted(const torch::jit::TreeRef& tree);
/// The name that a qualified type in code or in a pickle means, whatever folder it stands in.
std::string joined(const std::vector<std::string>& parts, size_t count);

}  // namespace mtt
