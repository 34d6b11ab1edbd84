// Every name in the code of an archive. A name is judged by what it could mean anywhere: a method may be bound to a
// variable before it is called, a variable that is not set on all paths means the function of that name.
#include <torch/csrc/jit/runtime/operator.h>
#include <torch/custom_class.h>
#include <torch/script.h>

#include <algorithm>
#include <regex>

#include "script.hpp"

namespace mtt {

namespace {

using namespace torch::jit;

constexpr int deepest_tree = 20000;

/// Words that mean the same wherever they stand.
const std::set<std::string>& roots() {
    static const std::set<std::string> names = {"torch", "ops", "__torch__", "CONSTANTS"};
    return names;
}

/// Functions of TorchScript that models must not have: where a variable of that name is not set, they are called.
const std::set<std::string>& forbidden_functions() {
    static const std::set<std::string> names = {
        "print", "hash", "id", "fork", "awaitable", "_awaitable", "_awaitable_wait", "_awaitable_nowait", "getattr",
        "hasattr", "unchecked_cast", "rpc_sync", "rpc_async", "rpc_remote", "open", "exec", "eval",
    };
    return names;
}

/// Operators of aten and prim, which methods and attributes of values reach.
bool is_registered(const std::string& name) {
    for (const char* space : {"aten::", "prim::"}) {
        if (!getAllOperatorsFor(c10::Symbol::fromQualString(space + name)).empty()) {
            return true;
        }
    }
    return false;
}

const std::set<std::string>& registered_spaces() {
    static const auto names = [] {
        std::set<std::string> out;
        for (const auto& item : getAllOperators()) {
            const auto& name = item->schema().name();
            out.insert(name.substr(0, name.find("::")));
        }
        return out;
    }();
    return names;
}

bool is_custom_class(const std::string& qualified) { return torch::getCustomClass(qualified) != nullptr; }

/// Methods and properties of the custom classes that models may have objects of.
const std::set<std::string>& custom_members() {
    static const auto names = [] {
        std::set<std::string> out;
        for (const auto& schema : torch::customClassSchemasForBCCheck()) {
            const auto& name = schema.name();
            const size_t dot = name.rfind('.');
            if (is_known_class(name.substr(0, dot))) {
                out.insert(name.substr(dot + 1));
            }
        }
        return out;
    }();
    return names;
}

/// Keyword-only arguments that operators of the list write to ("out" and its like).
const std::set<std::string>& output_arguments() {
    static const auto names = [] {
        std::set<std::string> out;
        for (const auto& item : getAllOperators()) {
            for (const auto& argument : item->schema().arguments()) {
                if (argument.kwarg_only() && argument.alias_info() != nullptr && argument.alias_info()->isWrite()) {
                    out.insert(item->schema().name() + " " + argument.name());
                }
            }
        }
        return out;
    }();
    return names;
}

/// Reads one definition.
class NameReader {
public:
    NameReader(const Script& script, const ScriptFile& file, const Permits& permits, std::vector<Foreign>& out):
        script_(script), file_(file), permits_(permits), out_(out) {}

    void read_class(const ClassDef& definition) {
        const auto found = script_.classes.find(file_.module + "." + definition.name().name());
        owner_ = found == script_.classes.end() ? nullptr : &found->second;
        check_bound(definition.name().name(), definition.tree());
        for (const auto& statement : definition.body()) {
            if (statement.kind() == TK_DEF) {
                read_function(Def(statement));
            } else {
                bound_.clear();
                parameters_.clear();
                if (statement.kind() == TK_ASSIGN) {
                    collect(statement.tree(), 0);
                }
                walk(statement.tree(), 0);
            }
        }
        owner_ = nullptr;
    }

    void read_function(const Def& definition) {
        const std::string name = definition.name().name();
        if (name == "__getstate__") {  // without it, libtorch does not call __setstate__ either
            add(name, definition.tree(), "with __setstate__ it runs code while the file is loaded");
        }
        bound_.clear();
        parameters_.clear();
        declared_.clear();
        assigned_.clear();
        casts_.clear();
        times_assigned_.clear();
        deletes_ = false;
        for (const auto& parameter : definition.decl().params()) {
            parameters_.insert(parameter.ident().name());
            if (parameter.type().present()) {
                declared_.emplace(parameter.ident().name(), parameter.type().get().tree());
            }
        }
        collect(definition.tree(), 0);
        walk(definition.tree(), 0);
    }

private:
    static int line(const TreeRef& tree) {
        if (tree->isAtom()) {
            return 0;
        }
        const auto& range = tree->range();
        return range.source() == nullptr ? 0 : int(range.source()->lineno_for_offset(range.start())) + 1;
    }

    void add(const std::string& name, const TreeRef& tree, const std::string& why) {
        if (permits_.allowed.count(name) == 0) {
            out_.push_back({name, file_.record, line(tree), why});
        }
    }

    /// Names that the definition sets, in whatever way.
    void collect(const TreeRef& tree, int depth) {
        if (depth > deepest_tree || tree->isAtom()) {
            return;
        }
        switch (tree->kind()) {
            case TK_PARAM: bound_.insert(Param(tree).ident().name()); break;
            case TK_DEF: bound_.insert(Def(tree).name().name()); break;
            case TK_ASSIGN:
                note_cast(Assign(tree));
                for (const auto& target : Assign(tree).lhs_list()) {
                    bind(target.tree());
                }
                break;
            case TK_AUG_ASSIGN: bind(AugAssign(tree).lhs().tree()); break;
            case TK_FOR:
                for (const auto& target : For(tree).targets()) {
                    bind(target.tree());
                }
                break;
            case TK_LIST_COMP: bind(ListComp(tree).target().tree()); break;
            case TK_DICT_COMP: bind(DictComp(tree).target().tree()); break;
            case TK_WITH_ITEM:
                if (WithItem(tree).var().present()) {
                    bind(WithItem(tree).var().get().tree());
                }
                break;
            case TK_DELETE: deletes_ = true; break;
            default: break;
        }
        for (const auto& part : tree->trees()) {
            collect(part, depth + 1);
        }
    }

    void bind(const TreeRef& target) {
        if (target->kind() == TK_VAR) {
            bound_.insert(Var(target).name().name());
            assigned_.insert(Var(target).name().name());
            ++times_assigned_[Var(target).name().name()];
            check_bound(Var(target).name().name(), target);
        } else if (target->kind() == TK_STARRED || target->kind() == TK_TUPLE_LITERAL ||
                   target->kind() == TK_LIST_LITERAL || target->kind() == TK_LIST) {
            for (const auto& part : target->trees()) {
                bind(part);
            }
        }
    }

    /// Remembers variables that are the result of a cast.
    void note_cast(const Assign& assign) {
        const auto targets = assign.lhs_list();
        if (targets.size() != 1 || targets[0].kind() != TK_VAR || !assign.rhs().present() ||
            assign.rhs().get().kind() != TK_APPLY) {
            return;
        }
        const Apply call(assign.rhs().get().tree());
        if (call.callee().kind() == TK_VAR && Var(call.callee()).name().name() == "unchecked_cast" &&
            call.inputs().size() == 2) {
            casts_.emplace(Var(targets[0]).name().name(), call.inputs()[0].range().text().str());
        }
    }

    void check_bound(const std::string& name, const TreeRef& tree) {
        if (roots().count(name) != 0) {
            add(name, tree, "the name is given another meaning");
        }
    }

    void walk(const TreeRef& tree, int depth) {
        if (tree->isAtom()) {
            return;
        }
        if (depth > deepest_tree) {
            out_.push_back({"archive", file_.record, line(tree), "the code nests deeper than exports do"});
            return;
        }
        switch (tree->kind()) {
            case TK_VAR: return check_variable(Var(tree).name().name(), tree);
            case '.': return select(tree, depth);
            case TK_APPLY: return apply(Apply(tree), depth);
            case TK_STRINGLITERAL: return check_text(StringLiteral(tree).text(), tree);
            case TK_PARAM: check_bound(Param(tree).ident().name(), tree); break;
            case TK_DEF: check_bound(Def(tree).name().name(), tree); break;
            case TK_GLOBAL: add("global", tree, "no export has it"); break;
            case TK_CAST: add("cast", tree, "no export has it"); break;
            default: break;
        }
        for (const auto& part : tree->trees()) {
            walk(part, depth + 1);
        }
    }

    void walk_parts(const TreeRef& tree, int depth) {
        for (const auto& part : tree->trees()) {
            walk(part, depth + 1);
        }
    }

    /// Texts are types too, where a type may stand.
    void check_text(const std::string& text, const TreeRef& tree) {
        static const std::regex type(R"(\s*(__torch__\.)?torch\.classes\.[\w.]+\s*)");
        if (text.size() < 300 && std::regex_match(text, type)) {
            const std::string trimmed = std::regex_replace(text, std::regex(R"(\s|^\s*__torch__\.)"), "");
            const std::string qualified = "__torch__." + trimmed;
            if (!permits_.class_permitted(qualified)) {
                add(qualified, tree, "this class is not on the list");
            }
        }
    }

    void check_variable(const std::string& name, const TreeRef& tree) {
        if (roots().count(name) != 0) {
            return add(name, tree, "it stands alone, so that what is taken from it can not be followed");
        }
        if (forbidden_functions().count(name) != 0) {
            // Only a parameter is set on all paths, and `del` brings the function of that name back.
            if (parameters_.count(name) == 0 || deletes_) {
                add(name, tree, "models may not call it");
            }
            return;
        }
        if (bound_.count(name) == 0 && !is_free_name(name)) {
            add(name, tree, "models may not call it, and nothing in the code sets it");
        }
    }

    void check_member(const std::string& name, const TreeRef& tree) {
        if (is_pure_method(name)) {
            return;
        }
        if (is_registered(name)) {
            return add("aten::" + name, tree, "this method is not on the list of pure operators");
        }
        if (script_.members.count(name) != 0 && custom_members().count(name) == 0) {
            return;
        }
        if (permits_.extensions && custom_members().count(name) == 0) {
            return;  // of a class that an extension brings
        }
        add("." + name, tree, "this method or attribute is not on the list, and no class of the file has it");
    }

    void select(const TreeRef& tree, int depth) {
        const auto names = dotted(tree);
        if (names.empty()) {
            check_member(Select(tree).selector().name(), tree);
            return walk(Select(tree).value().tree(), depth + 1);
        }
        if (names[0] == "torch" || names[0] == "ops") {
            return check_operator(names, tree);
        }
        if (names[0] == "__torch__") {
            return check_qualified(names, tree);
        }
        size_t first = 1;
        if (names[0] == "CONSTANTS") {
            if (!std::regex_match(names[1], std::regex("c[0-9]{1,9}"))) {
                add("CONSTANTS." + names[1], tree, "no constant is called so");
            }
            first = 2;
        } else {
            check_variable(names[0], tree);
            // The class's own attributes come before operators of that name.
            const bool own = names[0] == "self" && owner_ != nullptr && parameters_.count("self") != 0 &&
                             assigned_.count("self") == 0 && !deletes_;
            first = own && (owner_->attributes.count(names[1]) != 0 || owner_->methods.count(names[1]) != 0) ? 2 : 1;
        }
        for (size_t k = first; k < names.size(); ++k) {
            check_member(names[k], tree);
        }
    }

    /// torch.NAME is aten::NAME, and so is torch.autograd.NAME; ops.SPACE.NAME is SPACE::NAME.
    void check_operator(const std::vector<std::string>& names, const TreeRef& tree) {
        const std::string qualified = operator_name(names);
        const bool by_autograd = names.size() == 3 && names[0] == "torch" && names[1] == "autograd";
        const size_t expected = names[0] == "torch" && !by_autograd ? 2 : 3;
        if (names.size() == expected && permits_.operator_permitted(qualified)) {
            return;
        }
        const bool plain = names.size() == expected;
        add(qualified, tree, plain ? "it is not on the list of pure operators" : "no export writes an operator so");
    }

    static std::string operator_name(const std::vector<std::string>& names) {
        if (names.size() < 2 || (names[0] == "ops" && names.size() < 3)) {
            return joined(names, names.size());
        }
        const bool by_torch = names[0] == "torch" || (names.size() > 3 && names[2] == "autograd");
        return (by_torch ? "aten" : names[1]) + "::" + names.back();
    }

    void check_qualified(const std::vector<std::string>& names, const TreeRef& tree) {
        for (size_t count = 2; count <= names.size(); ++count) {
            const std::string qualified = joined(names, count);
            const bool custom = (count == 5 && names[1] == "torch" && names[2] == "classes") || is_custom_class(qualified);
            if (custom && !permits_.class_permitted(qualified)) {
                return add(qualified, tree, "this class is not on the list");
            }
            if (custom || script_.classes.count(qualified) != 0 || script_.functions.count(qualified) != 0) {
                const auto own = script_.classes.find(qualified);
                const bool is_enum = !custom && own != script_.classes.end() && own->second.is_enum;
                for (size_t k = count; k < names.size(); ++k) {
                    if (!(is_enum && k == count && own->second.methods.count(names[k]) != 0)) {
                        check_member(names[k], tree);
                    }
                }
                return;
            }
        }
        add(joined(names, names.size()), tree, "the file does not define it");
    }

    void apply(const Apply& call, int depth) {
        const TreeRef callee = call.callee().tree();
        const std::string name = callee->kind() == TK_VAR ? Var(callee).name().name() : "";
        const bool special = forbidden_functions().count(name) != 0 && (parameters_.count(name) == 0 || deletes_);
        if (special && (name == "getattr" || name == "hasattr")) {
            check_named_access(call, name);
        } else if (special && name == "unchecked_cast") {
            check_cast(call);
        } else {
            walk(callee, depth + 1);
        }
        check_outputs(call, callee);
        walk_parts(call.inputs().tree(), depth);
        for (const auto& attribute : call.attributes()) {
            walk(attribute.value().tree(), depth + 1);
        }
    }

    void check_named_access(const Apply& call, const std::string& name) {
        const auto inputs = call.inputs();
        if (inputs.size() < 2 || inputs[1].kind() != TK_STRINGLITERAL || call.attributes().size() != 0) {
            return add(name, call.tree(), "the attribute that it takes is not written out");
        }
        const std::string member = StringLiteral(inputs[1]).text();
        if (script_.members.count(member) == 0 || is_registered(member) || custom_members().count(member) != 0) {
            check_member(member, call.tree());
        }
    }

    /// A cast that is wrong makes slots of an object, or parts of a tuple, be taken from where none are. Values of
    /// other types are checked whenever they are used.
    void check_cast(const Apply& call) {
        const auto inputs = call.inputs();
        if (inputs.size() != 2) {
            return add("unchecked_cast", call.tree(), "it has a type and a value");
        }
        if (!holds_slots(inputs[0].tree())) {
            return;
        }
        if (inputs[1].kind() == TK_VAR) {
            const std::string name = Var(inputs[1]).name().name();
            const std::string wanted = inputs[0].range().text().str();
            const auto declared = declared_.find(name);
            const auto cast = casts_.find(name);
            if (declared != declared_.end() && assigned_.count(name) == 0 && !deletes_ &&
                without_none(declared->second) == wanted) {
                return;
            }
            // Of the same type by a cast that is judged where it stands.
            if (cast != casts_.end() && times_assigned_[name] == 1 && parameters_.count(name) == 0 && !deletes_ &&
                cast->second == wanted) {
                return;
            }
        }
        add("unchecked_cast", call.tree(), "it takes a value for a class or tuple that it may not be");
    }

    /// The text of a type, of Optional[T] that of T.
    static std::string without_none(const TreeRef& type) {
        if (type->kind() == TK_SUBSCRIPT) {
            const Subscript generic(type);
            if (dotted(generic.value().tree()) == std::vector<std::string>{"Optional"} &&
                generic.subscript_exprs().size() == 1) {
                return generic.subscript_exprs()[0].range().text().str();
            }
        }
        return type->range().text().str();
    }

    bool holds_slots(const TreeRef& type) const {
        const auto names = dotted(type);
        if (!names.empty()) {
            static const std::set<std::string> plain = {
                "Tensor", "int", "float", "bool", "str", "complex", "NoneType", "Device", "number", "List", "Dict",
                "Optional", "Union",
            };
            if (names.size() == 1) {
                return plain.count(names[0]) == 0;
            }
            return !is_custom_class(joined(names, names.size()));  // these come before classes of the file
        }
        if (type->kind() == TK_NONE || type->kind() == TK_NONE_TYPE) {
            return false;
        }
        if (type->kind() == TK_SUBSCRIPT) {
            const Subscript generic(type);
            bool out = holds_slots(generic.value().tree());
            for (const auto& part : generic.subscript_exprs()) {
                out = out || holds_slots(part.tree());
            }
            return out;
        }
        return true;
    }

    /// Results that are written into tensors of the caller.
    void check_outputs(const Apply& call, const TreeRef& callee) {
        for (const auto& attribute : call.attributes()) {
            const std::string keyword = attribute.name().name();
            std::string target;
            if (callee->kind() == '.') {
                const auto names = dotted(callee);
                const bool by_space = !names.empty() && (names[0] == "torch" || names[0] == "ops");
                target = by_space ? operator_name(names) : "aten::" + Select(callee).selector().name();
            }
            const bool any = target.empty() && keyword == "out";
            // Parts of torch.functional and (div) of nn.functional.normalize that many exports contain; the tensor is
            // resized, checked for overlap, and counted as changed for derivatives.
            static const std::set<std::string> harmless = {
                "aten::tensordot", "aten::linalg_vector_norm", "aten::linalg_matrix_norm", "aten::frobenius_norm",
                "aten::nuclear_norm", "aten::div",
            };
            const bool writes = output_arguments().count(target + " " + keyword) != 0 && harmless.count(target) == 0;
            if (any || writes) {
                add(target.empty() ? "out=" : target + ".out", call.tree(), "it writes its result into a tensor given");
            }
        }
    }

    const Script& script_;
    const ScriptFile& file_;
    const Permits& permits_;
    std::vector<Foreign>& out_;
    const ScriptClass* owner_ = nullptr;
    /// Of the definition at hand: names that it sets, its parameters, those set again, and declared types.
    std::set<std::string> bound_;
    std::set<std::string> parameters_;
    std::set<std::string> assigned_;
    std::map<std::string, TreeRef> declared_;
    std::map<std::string, std::string> casts_;
    std::map<std::string, int> times_assigned_;
    bool deletes_ = false;
};

}  // namespace

bool Permits::operator_permitted(const std::string& qualified) const {
    if (is_pure_operator(qualified) || allowed.count(qualified) != 0) {
        return true;
    }
    return extensions && registered_spaces().count(qualified.substr(0, qualified.find("::"))) == 0;
}

bool Permits::class_permitted(const std::string& qualified) const {
    return is_known_class(qualified) || allowed.count(qualified) != 0 || (extensions && !is_custom_class(qualified));
}

void find_names(const Script& script, const Permits& permits, std::vector<Foreign>& out) {
    for (const auto& file : script.files) {
        NameReader reader(script, file, permits, out);
        for (const auto& definition : file.definitions) {
            if (definition->kind() == TK_CLASS_DEF) {
                reader.read_class(ClassDef(definition));
            } else {
                reader.read_function(Def(definition));
            }
        }
    }
}

}  // namespace mtt
