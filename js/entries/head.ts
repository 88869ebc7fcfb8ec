import { define } from "../hosts/anywidget";
import { head } from "../views/head";

export default define("head", head);
